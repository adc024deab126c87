package app

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

//go:embed schema.sql
var schemaSQL string

// schemaVersion is stored in the file (PRAGMA user_version), so that a
// database of an older example is refused instead of misread.
const schemaVersion = 1

// Database is the shop's data. It is safe for concurrent use, and several
// processes may have the same file open.
type Database struct {
	read  *sql.DB
	write *sql.DB // one connection: SQLite has one writer anyway, and waiting in Go is fairer than in its busy handler
}

// Open opens the database at path, and generates it first where there is none.
// What is generated depends on size alone. Of several processes that generate
// at once, one wins and the others use its file.
func Open(ctx context.Context, path string, size Size) (*Database, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(ctx, path, size.withDefaults()); err != nil {
			return nil, fmt.Errorf("generate shop database %s: %w", path, err)
		}
	}
	// WAL lets the slow query and a write go on side by side.
	const pragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)"
	db := &Database{}
	var err error
	if db.read, err = sql.Open("sqlite", dsn(path, pragmas+"&_pragma=query_only(1)")); err != nil {
		return nil, fmt.Errorf("open shop database %s: %w", path, err)
	}
	if db.write, err = sql.Open("sqlite", dsn(path, pragmas+"&_txlock=immediate")); err != nil {
		db.read.Close()
		return nil, fmt.Errorf("open shop database %s: %w", path, err)
	}
	db.read.SetMaxOpenConns(8)
	db.read.SetMaxIdleConns(8)
	db.write.SetMaxOpenConns(1)

	var version int
	if err := db.write.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		db.Close()
		return nil, fmt.Errorf("open shop database %s: %w", path, err)
	}
	if version != schemaVersion {
		db.Close()
		return nil, fmt.Errorf("shop database %s has schema version %d, this program needs %d; delete the file to have it generated anew",
			path, version, schemaVersion)
	}
	return db, nil
}

// Close closes all connections to the database.
func (db *Database) Close() error {
	return errors.Join(db.read.Close(), db.write.Close())
}

// create generates the database beside path and links it into place when it is
// complete. Link, unlike rename, never replaces a file that another process
// has finished, and perhaps opened, in the meantime.
func create(ctx context.Context, path string, size Size) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".shop-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	draft := filepath.Join(dir, "draft.db")
	if err := generate(ctx, draft, size); err != nil {
		return err
	}
	if err := os.Link(draft, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func dsn(path, query string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query}).String()
}
