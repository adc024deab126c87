// Shop is the mission of Headgate as a program: a web shop with a slow
// database query, two app servers that both have it, two gateways in front, and
// a balancer before these, so that visitors see one site.
//
//	go run ./examples/shop                     everything, in this process
//	REDIS_URL=redis://... go run ./examples/shop   the gateways share Redis
//	go run ./examples/shop -role app           one app server, for containers
//	go run ./examples/shop -role balancer      the balancer alone, for containers
//
// The README beside it says what to look at and what to try.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/headgate/headgate/examples/shop/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], app.Size{}, os.Stdin, os.Stdout, os.Stderr))
}

// run is the program. It returns the exit status: 0, 1 when something failed,
// 2 when it was called wrongly. Size is how large the shop is unless the
// arguments say otherwise.
func run(ctx context.Context, args []string, size app.Size, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.SetOutput(errs)
	var (
		role     = flags.String("role", "all", "all, or app: one app server alone, or balancer: the balancer alone")
		addr     = flags.String("addr", "127.0.0.1:9001", "with -role app: where to listen; only the gateways may reach it")
		name     = flags.String("name", "", "with -role app: what the pages call this server (default: the host's name)")
		path     = flags.String("db", "", "the database's file, generated when it is missing (default: a temporary one)")
		apps     = flags.String("apps", "127.0.0.1:9001,127.0.0.1:9002", "where the two app servers listen")
		gateways = flags.String("gateways", "127.0.0.1:8081,127.0.0.1:8082", "where the two gateways listen")
		balancer = flags.String("balancer", "127.0.0.1:8080", "where the balancer before the gateways listens: the site's address")
		admins   = flags.String("admins", "127.0.0.1:9901,127.0.0.1:9902", "where the gateways' admin listeners are")
		verbose  = flags.Bool("v", false, "write the gateways' access logs to standard output")
	)
	flags.IntVar(&size.Orders, "orders", size.Orders, "how many orders to generate (default 120,000)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(errs, "shop: unexpected argument %q; see shop -help\n", flags.Arg(0))
		return 2
	}

	var o demoOptions
	for list, pair := range map[*string]*[2]string{apps: &o.Apps, gateways: &o.Gateways, admins: &o.Admins} {
		first, second, ok := strings.Cut(*list, ",")
		if !ok {
			fmt.Fprintf(errs, "shop: %q is not two addresses; write them as host:port,host:port\n", *list)
			return 2
		}
		*pair = [2]string{first, second}
	}
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	switch *role {
	case "all":
		o.Balancer, o.Database, o.Size, o.Logger = *balancer, *path, size, log
		o.RedisURL, o.RedisTimeout, o.AccessLog = os.Getenv("REDIS_URL"), os.Getenv("REDIS_TIMEOUT"), "off"
		if *verbose {
			o.AccessLog = "stdout"
		}
		err = runDemo(ctx, o, in, out)
	case "app":
		err = runApp(ctx, *name, *addr, *path, size, out, log)
	case "balancer":
		err = runBalancer(ctx, *balancer, o.Gateways, out, log)
	default:
		fmt.Fprintf(errs, "shop: unknown role %q; there are all and app, and balancer\n", *role)
		return 2
	}
	if err != nil {
		fmt.Fprintf(errs, "shop: %v\n", err)
		return 1
	}
	return 0
}

// runApp serves one app server until ctx ends.
func runApp(ctx context.Context, name, addr, path string, size app.Size, out io.Writer, log *slog.Logger) (err error) {
	if name == "" {
		name, _ = os.Hostname() // without one the app has a default of its own
	}
	db, closeDB, err := openDatabase(ctx, path, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDB()) }()

	handler, err := app.New(app.Options{Name: name, Database: db, Logger: log})
	if err != nil {
		return err
	}
	return serve(ctx, &webServer{name: name, addr: addr, handler: handler, log: log}, "app server "+name, out)
}

// runBalancer serves the balancer until ctx ends.
func runBalancer(ctx context.Context, addr string, gateways [2]string, out io.Writer, log *slog.Logger) error {
	handler, done, err := newBalancer(gateways, log)
	if err != nil {
		return err
	}
	defer done()
	return serve(ctx, &webServer{name: "balancer", addr: addr, handler: handler, log: log}, "the balancer", out)
}

// serve runs a server until ctx ends. Title is what it is called when it has started.
func serve(ctx context.Context, server *webServer, title string, out io.Writer) error {
	if err := server.start(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s listens on %s\n", title, server.url())
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.shutdown(grace)
}

// openDatabase opens the shop's data, in a temporary folder that done removes
// where path is empty.
func openDatabase(ctx context.Context, path string, size app.Size) (db *app.Database, done func() error, err error) {
	remove := func() error { return nil }
	if path == "" {
		dir, err := os.MkdirTemp("", "headgate-shop-*")
		if err != nil {
			return nil, nil, err
		}
		path, remove = filepath.Join(dir, "shop.db"), func() error { return os.RemoveAll(dir) }
	}
	if db, err = app.Open(ctx, path, size); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return db, func() error { return errors.Join(db.Close(), remove()) }, nil
}
