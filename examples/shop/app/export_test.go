package app

import (
	"cmp"
	"context"
	"slices"
)

// TopRecord is a best seller as the API gives it.
type TopRecord = bestSeller

// TopByHand answers what the slow query answers, by reading the tables and
// adding up in Go.
func (db *Database) TopByHand(ctx context.Context, limit int) ([]TopRecord, error) {
	type sale struct{ customer, product, quantity, price int64 }
	rows, err := db.read.QueryContext(ctx, `SELECT o.customer_id, i.product_id, i.quantity, i.price
		FROM orders o JOIN order_items i ON i.order_id = o.id WHERE o.status IN ('paid', 'sent')`)
	if err != nil {
		return nil, err
	}
	sales, err := collect(rows, func(s *sale) []any { return []any{&s.customer, &s.product, &s.quantity, &s.price} })
	if err != nil {
		return nil, err
	}
	rows, err = db.read.QueryContext(ctx, "SELECT product_id, rating FROM reviews")
	if err != nil {
		return nil, err
	}
	type review struct{ product, rating int64 }
	reviews, err := collect(rows, func(r *review) []any { return []any{&r.product, &r.rating} })
	if err != nil {
		return nil, err
	}

	records := map[int64]*TopRecord{}
	buyers := map[int64]map[int64]bool{}
	for _, s := range sales {
		if records[s.product] == nil {
			records[s.product] = &TopRecord{}
			buyers[s.product] = map[int64]bool{}
		}
		records[s.product].Units += s.quantity
		records[s.product].Revenue += cents(s.quantity * s.price)
		buyers[s.product][s.customer] = true
	}
	for _, r := range reviews {
		if record := records[r.product]; record != nil {
			record.Rating += float64(r.rating)
			record.Reviews++
		}
	}
	var top []TopRecord
	for id, record := range records {
		if record.product, err = db.product(ctx, id); err != nil {
			return nil, err
		}
		record.Buyers = int64(len(buyers[id]))
		if record.Reviews > 0 {
			record.Rating /= float64(record.Reviews)
		}
		top = append(top, *record)
	}
	slices.SortFunc(top, func(a, b TopRecord) int {
		return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(a.ID, b.ID))
	})
	top = top[:min(limit, len(top))]
	for i := range top {
		top[i].Rank = i + 1
	}
	return top, nil
}

// Dump returns the rows of the generated tables as text, but for the salted passwords.
func (db *Database) Dump(ctx context.Context) ([]string, error) {
	type line struct{ text string }
	rows, err := db.read.QueryContext(ctx, `
		SELECT 'category ' || id || ' ' || name FROM categories
		UNION ALL SELECT 'product ' || id || ' ' || category_id || ' ' || name || ' ' || price FROM products
		UNION ALL SELECT 'customer ' || id || ' ' || country FROM customers
		UNION ALL SELECT 'order ' || id || ' ' || customer_id || ' ' || placed || ' ' || status FROM orders
		UNION ALL SELECT 'item ' || order_id || ' ' || line || ' ' || product_id || ' ' || quantity || ' ' || price FROM order_items
		UNION ALL SELECT 'review ' || id || ' ' || product_id || ' ' || rating FROM reviews
		UNION ALL SELECT 'user ' || id || ' ' || login || ' ' || name || ' ' || role FROM users`)
	if err != nil {
		return nil, err
	}
	lines, err := collect(rows, func(l *line) []any { return []any{&l.text} })
	if err != nil {
		return nil, err
	}
	dump := make([]string, len(lines))
	for i, l := range lines {
		dump[i] = l.text
	}
	return dump, nil
}

// Share returns which part of all units sold the best n products make, 0 to 1.
func (db *Database) Share(ctx context.Context, n int) (share float64, err error) {
	err = db.read.QueryRowContext(ctx, `
		WITH sold AS (SELECT SUM(quantity) AS units FROM order_items GROUP BY product_id)
		SELECT 1.0 * (SELECT SUM(units) FROM (SELECT units FROM sold ORDER BY units DESC LIMIT ?)) / SUM(units) FROM sold`, n).Scan(&share)
	return share, err
}

// SetVersion makes the file one of another schema version.
func (db *Database) SetVersion(ctx context.Context) error {
	_, err := db.write.ExecContext(ctx, "PRAGMA user_version = 999")
	return err
}

var (
	HashPassword  = hashPassword
	CheckPassword = checkPassword
	LocalPath     = localPath
	CartOf        = cartOf
	ProductName   = productName
)

func ParseCents(text string) (int64, error) {
	c, err := parseCents(text)
	return int64(c), err
}
