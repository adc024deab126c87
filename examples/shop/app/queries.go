package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// errNotFound is what a query for one thing returns when there is none.
var errNotFound = errors.New("not found")

const (
	roleCustomer = "customer"
	roleAdmin    = "admin"
)

type product struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Price    cents  `json:"price_cents"`
}

// bestSeller is a row of the top page.
type bestSeller struct {
	Rank int `json:"rank"`
	product
	Units   int64   `json:"units"`
	Revenue cents   `json:"revenue_cents"`
	Buyers  int64   `json:"buyers"`
	Rating  float64 `json:"rating"` // mean of 1 to 5; 0 without reviews
	Reviews int64   `json:"reviews"`
}

type user struct {
	ID       int64
	Login    string
	Name     string
	Role     string
	password string
}

// topSQL is the slow query: it reads every order line ever sold, finds each
// one's order and product, and counts distinct buyers. Nothing is precomputed.
const topSQL = `
SELECT p.id, p.name, c.name, p.price,
       SUM(i.quantity)               AS units,
       SUM(i.quantity * i.price)     AS revenue,
       COUNT(DISTINCT o.customer_id) AS buyers,
       COALESCE(r.rating, 0), COALESCE(r.reviews, 0)
  FROM order_items i
  JOIN orders o     ON o.id = i.order_id
  JOIN products p   ON p.id = i.product_id
  JOIN categories c ON c.id = p.category_id
  LEFT JOIN (SELECT product_id, AVG(rating) AS rating, COUNT(*) AS reviews
               FROM reviews GROUP BY product_id) r ON r.product_id = p.id
 WHERE o.status <> 'cancelled'
 GROUP BY p.id
 ORDER BY units DESC, p.id
 LIMIT ?`

// bestSellers runs the slow query, and counts that server did. It returns the
// number of this run among those of all servers.
func (db *Database) bestSellers(ctx context.Context, server string, limit int) (top []bestSeller, run int64, err error) {
	if run, err = db.countRun(ctx, server); err != nil {
		return nil, 0, fmt.Errorf("count a run of the top query: %w", err)
	}
	rows, err := db.read.QueryContext(ctx, topSQL, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("query best sellers: %w", err)
	}
	top, err = collect(rows, func(b *bestSeller) []any {
		return []any{&b.ID, &b.Name, &b.Category, &b.Price, &b.Units, &b.Revenue, &b.Buyers, &b.Rating, &b.Reviews}
	})
	if err != nil {
		return nil, 0, fmt.Errorf("query best sellers: %w", err)
	}
	for i := range top {
		top[i].Rank = i + 1
	}
	return top, run, nil
}

// countRun counts in one transaction, so that no two runs get one number.
func (db *Database) countRun(ctx context.Context, server string) (run int64, err error) {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO query_runs (server, runs) VALUES (?, 1)
		    ON CONFLICT (server) DO UPDATE SET runs = runs + 1`, server); err != nil {
		return 0, err
	}
	if err := tx.QueryRowContext(ctx, "SELECT SUM(runs) FROM query_runs").Scan(&run); err != nil {
		return 0, err
	}
	return run, tx.Commit()
}

// serverRuns is how many times one app server ran the slow query.
type serverRuns struct {
	Server string `json:"server"`
	Runs   int64  `json:"runs"`
}

// queryRuns returns the runs of every app server that has the file open, and
// their sum.
func (db *Database) queryRuns(ctx context.Context) (byServer []serverRuns, total int64, err error) {
	rows, err := db.read.QueryContext(ctx, "SELECT server, runs FROM query_runs ORDER BY server")
	if err != nil {
		return nil, 0, fmt.Errorf("query runs: %w", err)
	}
	byServer, err = collect(rows, func(r *serverRuns) []any { return []any{&r.Server, &r.Runs} })
	if err != nil {
		return nil, 0, fmt.Errorf("query runs: %w", err)
	}
	for _, r := range byServer {
		total += r.Runs
	}
	return byServer, total, nil
}

const productSQL = `
SELECT p.id, p.name, c.name, p.price
  FROM products p JOIN categories c ON c.id = p.category_id `

func productFields(p *product) []any { return []any{&p.ID, &p.Name, &p.Category, &p.Price} }

func (db *Database) product(ctx context.Context, id int64) (product, error) {
	var p product
	err := db.read.QueryRowContext(ctx, productSQL+"WHERE p.id = ?", id).Scan(productFields(&p)...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return product{}, errNotFound
	case err != nil:
		return product{}, fmt.Errorf("query product %d: %w", id, err)
	}
	return p, nil
}

// products returns those of ids that exist, by ID.
func (db *Database) products(ctx context.Context, ids []int64) (map[int64]product, error) {
	found := make(map[int64]product, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := db.read.QueryContext(ctx, productSQL+"WHERE p.id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", args...)
	if err != nil {
		return nil, fmt.Errorf("query products: %w", err)
	}
	list, err := collect(rows, productFields)
	if err != nil {
		return nil, fmt.Errorf("query products: %w", err)
	}
	for _, p := range list {
		found[p.ID] = p
	}
	return found, nil
}

// searchProducts returns the first products whose name contains text.
func (db *Database) searchProducts(ctx context.Context, text string, limit int) ([]product, error) {
	rows, err := db.read.QueryContext(ctx, productSQL+"WHERE instr(lower(p.name), lower(?)) > 0 ORDER BY p.id LIMIT ?", text, limit)
	if err != nil {
		return nil, fmt.Errorf("search products: %w", err)
	}
	list, err := collect(rows, productFields)
	if err != nil {
		return nil, fmt.Errorf("search products: %w", err)
	}
	return list, nil
}

// editProduct changes a product's name and price.
func (db *Database) editProduct(ctx context.Context, id int64, name string, price cents) error {
	result, err := db.write.ExecContext(ctx, "UPDATE products SET name = ?, price = ? WHERE id = ?", name, price, id)
	if err != nil {
		return fmt.Errorf("edit product %d: %w", id, err)
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return fmt.Errorf("edit product %d: %w", id, err)
	case n == 0:
		return errNotFound
	}
	return nil
}

const userSQL = "SELECT id, login, name, role, password FROM users WHERE "

func (db *Database) userByID(ctx context.Context, id string) (user, error) {
	return db.user(ctx, userSQL+"id = ?", id)
}

func (db *Database) userByLogin(ctx context.Context, login string) (user, error) {
	return db.user(ctx, userSQL+"login = ?", login)
}

func (db *Database) user(ctx context.Context, query, key string) (user, error) {
	var u user
	err := db.read.QueryRowContext(ctx, query, key).Scan(&u.ID, &u.Login, &u.Name, &u.Role, &u.password)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return user{}, errNotFound
	case err != nil:
		return user{}, fmt.Errorf("query user: %w", err)
	}
	return u, nil
}

// collect reads all rows, each into the fields of a new T, and closes them.
func collect[T any](rows *sql.Rows, fields func(*T) []any) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		var one T
		if err := rows.Scan(fields(&one)...); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
