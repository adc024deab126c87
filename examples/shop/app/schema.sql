CREATE TABLE categories (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE products (
    id          INTEGER PRIMARY KEY,
    category_id INTEGER NOT NULL REFERENCES categories (id),
    name        TEXT    NOT NULL,
    price       INTEGER NOT NULL CHECK (price > 0) -- cents
);

CREATE TABLE customers (
    id      INTEGER PRIMARY KEY,
    country TEXT NOT NULL
);

CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    placed      INTEGER NOT NULL, -- Unix seconds
    status      TEXT    NOT NULL CHECK (status IN ('paid', 'sent', 'cancelled'))
);

-- Found by their order, as a shop does all day. There is no index by product,
-- by choice: it is what makes the top page slow, and the README says why it stays.
CREATE TABLE order_items (
    order_id   INTEGER NOT NULL REFERENCES orders (id),
    line       INTEGER NOT NULL,
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    price      INTEGER NOT NULL, -- cents, as it was on the day
    PRIMARY KEY (order_id, line)
) WITHOUT ROWID;

CREATE TABLE reviews (
    id         INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products (id),
    rating     INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5)
);

-- Who can log in.
CREATE TABLE users (
    id       INTEGER PRIMARY KEY,
    login    TEXT NOT NULL UNIQUE,
    name     TEXT NOT NULL,
    role     TEXT NOT NULL CHECK (role IN ('customer', 'admin')),
    password TEXT NOT NULL -- see password.go
);

-- How many times each app server ran the slow query.
CREATE TABLE query_runs (
    server TEXT PRIMARY KEY,
    runs   INTEGER NOT NULL
);
