package app

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Size is how much data is generated. A field of zero or less takes the default.
type Size struct {
	Products  int // default 3,000
	Orders    int // default 120,000, of one to four lines each: some 220,000 order lines
	Customers int // default a sixth of Orders
	Reviews   int // default a sixth of Orders

	// PasswordIterations of PBKDF2 for the demo users; default 600,000, as OWASP
	// advises for HMAC-SHA256. Tests take fewer.
	PasswordIterations int
}

func (s Size) withDefaults() Size {
	or := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	or(&s.Products, 3_000)
	or(&s.Orders, 120_000)
	or(&s.Customers, max(s.Orders/6, 1))
	or(&s.Reviews, max(s.Orders/6, 1))
	or(&s.PasswordIterations, 600_000)
	return s
}

// generate writes a whole new database to path: the same rows for the same
// size, on every machine. Only the salts of the passwords differ.
func generate(ctx context.Context, path string, size Size) (err error) {
	// Until the file is complete nobody else sees it, and a half-written one is
	// thrown away: there is nothing for a journal or a sync to protect.
	db, err := sql.Open("sqlite", dsn(path, "_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schemaSQL); err != nil {
		return err
	}
	g := &generator{size: size, rand: rand.New(rand.NewPCG(1976, 2026))}
	for _, step := range []func(context.Context, *sql.Tx) error{
		g.users, g.categories, g.products, g.customers, g.orders, g.reviews,
	} {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// generator makes the rows. Popularity is skewed as it is in shops: a few
// products make most of the sales, a few customers place most of the orders.
type generator struct {
	size   Size
	rand   *rand.Rand
	prices []int // by product ID; the first is unused
	ranked []int // product IDs from the most popular down: popularity has nothing to do with the ID
}

func (g *generator) users(ctx context.Context, tx *sql.Tx) error {
	in := newInserter(tx, "users", "id", "login", "name", "role", "password")
	for _, u := range demoUsers {
		in.add(ctx, u.ID, u.Login, u.Name, u.Role, hashPassword(u.Password, g.size.PasswordIterations))
	}
	return in.close(ctx)
}

func (g *generator) categories(ctx context.Context, tx *sql.Tx) error {
	in := newInserter(tx, "categories", "id", "name")
	for i, c := range catalogue {
		in.add(ctx, i+1, c.name)
	}
	return in.close(ctx)
}

func (g *generator) products(ctx context.Context, tx *sql.Tx) error {
	in := newInserter(tx, "products", "id", "category_id", "name", "price")
	g.prices = make([]int, g.size.Products+1)
	for id := 1; id <= g.size.Products; id++ {
		category, name := productName(id - 1)
		base := catalogue[category].price
		// Half to double the usual price, ending in .90 as prices do.
		price := int(float64(base)*(0.5+1.5*g.rand.Float64()))/100*100 + 90
		g.prices[id] = price
		in.add(ctx, id, category+1, name, price)
	}
	g.ranked = g.rand.Perm(g.size.Products)
	for i := range g.ranked {
		g.ranked[i]++
	}
	return in.close(ctx)
}

// popular returns a source of product IDs, the popular ones more often.
func (g *generator) popular() func() int {
	zipf := rand.NewZipf(g.rand, 1.08, 12, uint64(g.size.Products-1))
	return func() int { return g.ranked[zipf.Uint64()] }
}

func (g *generator) customers(ctx context.Context, tx *sql.Tx) error {
	in := newInserter(tx, "customers", "id", "country")
	countries := []string{"DE", "DE", "DE", "FR", "FR", "NL", "AT", "ES", "IT", "PL", "SE", "CH"}
	for id := 1; id <= g.size.Customers; id++ {
		in.add(ctx, id, countries[g.rand.IntN(len(countries))])
	}
	return in.close(ctx)
}

func (g *generator) orders(ctx context.Context, tx *sql.Tx) error {
	orders := newInserter(tx, "orders", "id", "customer_id", "placed", "status")
	items := newInserter(tx, "order_items", "order_id", "line", "product_id", "quantity", "price")

	popular := g.popular()
	regular := rand.NewZipf(g.rand, 1.05, 200, uint64(g.size.Customers-1))

	first := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	year := int64(365 * 24 * 60 * 60)
	for id := 1; id <= g.size.Orders; id++ {
		status := "sent"
		switch n := g.rand.IntN(100); {
		case n < 4:
			status = "cancelled"
		case n < 10:
			status = "paid"
		}
		placed := first + year*int64(id)/int64(g.size.Orders)
		orders.add(ctx, id, int(regular.Uint64())+1, placed, status)

		for line := 1; ; line++ {
			product := popular()
			quantity := 1
			if g.rand.IntN(6) == 0 {
				quantity += 1 + g.rand.IntN(3)
			}
			items.add(ctx, id, line, product, quantity, g.prices[product])
			if line == 4 || g.rand.IntN(100) >= 50 {
				break
			}
		}
	}
	if err := orders.close(ctx); err != nil {
		return err
	}
	return items.close(ctx)
}

func (g *generator) reviews(ctx context.Context, tx *sql.Tx) error {
	in := newInserter(tx, "reviews", "id", "product_id", "rating")
	popular := g.popular()
	for id := 1; id <= g.size.Reviews; id++ {
		product := popular()
		// Each product has a quality of its own, and opinions vary around it.
		quality := 3 + product%3
		in.add(ctx, id, product, min(quality-1+g.rand.IntN(3), 5))
	}
	return in.close(ctx)
}

// inserter inserts rows many at a time through one prepared statement, which
// is several times faster than one by one. The first error sticks and is
// returned by close.
type inserter struct {
	tx     *sql.Tx
	into   string // INSERT INTO t (a, b) VALUES
	row    string // (?, ?)
	batch  *sql.Stmt
	values []any
	width  int
	err    error
}

// batchRows times the widest table's columns stays well below SQLite's limit
// of 32,766 parameters.
const batchRows = 100

func newInserter(tx *sql.Tx, table string, columns ...string) *inserter {
	return &inserter{
		tx:    tx,
		into:  fmt.Sprintf("INSERT INTO %s (%s) VALUES ", table, strings.Join(columns, ", ")),
		row:   "(" + strings.Repeat("?, ", len(columns)-1) + "?)",
		width: len(columns),
	}
}

func (in *inserter) add(ctx context.Context, row ...any) {
	if in.err != nil {
		return
	}
	if in.values = append(in.values, row...); len(in.values) < batchRows*in.width {
		return
	}
	if in.batch == nil {
		if in.batch, in.err = in.tx.PrepareContext(ctx, in.statement(batchRows)); in.err != nil {
			return
		}
	}
	_, in.err = in.batch.ExecContext(ctx, in.values...)
	in.values = in.values[:0]
}

func (in *inserter) close(ctx context.Context) error {
	if in.batch != nil {
		defer in.batch.Close()
	}
	if in.err == nil && len(in.values) > 0 {
		_, in.err = in.tx.ExecContext(ctx, in.statement(len(in.values)/in.width), in.values...)
	}
	return in.err
}

func (in *inserter) statement(rows int) string {
	return in.into + strings.Repeat(in.row+", ", rows-1) + in.row
}
