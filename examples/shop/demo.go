package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/headgate/headgate/examples/shop/app"
	"github.com/headgate/headgate/gateway/server"
)

// demoOptions say where everything listens; port 0 takes a free one.
type demoOptions struct {
	Apps, Gateways, Admins [2]string
	Balancer               string
	Database               string // "" is a temporary file
	Size                   app.Size
	RedisURL               string // "" shares one store in this process
	RedisTimeout           string // as in the policy file; "" is its default
	AccessLog              string // as in the policy file
	Logger                 *slog.Logger
}

// demo is two app servers over one database, two gateways in front of them, and a balancer before these.
type demo struct {
	apps     [2]*webServer
	gateways [2]*gateway
	balancer *webServer
	folder   string                        // of mails, and the table of best sellers
	undo     []func(context.Context) error // what close does, last first
}

// runDemo starts everything, says what to try, and obeys what is typed until
// ctx ends.
func runDemo(ctx context.Context, o demoOptions, in io.Reader, out io.Writer) error {
	fmt.Fprintln(out, "Opening the shop ...")
	d, err := startDemo(ctx, o)
	if err != nil {
		return err
	}
	d.welcome(out, o.RedisURL)

	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				lines = nil // nobody types: only ctx ends the demo
			} else if answer := d.obey(line); answer != "" {
				fmt.Fprintln(out, answer)
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	fmt.Fprintln(out, "Closing the shop ...")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return d.close(grace)
}

// startDemo starts everything, in the order in which one depends on the other.
// When it fails, what was started is stopped again.
func startDemo(ctx context.Context, o demoOptions) (_ *demo, err error) {
	d := &demo{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close(context.WithoutCancel(ctx)))
		}
	}()

	db, closeDB, err := openDatabase(ctx, o.Database, o.Size)
	if err != nil {
		return nil, err
	}
	d.undo = append(d.undo, func(context.Context) error { return closeDB() })

	if d.folder, err = os.MkdirTemp("", "headgate-shop-jobs-*"); err != nil {
		return nil, err
	}
	d.undo = append(d.undo, func(context.Context) error { return os.RemoveAll(d.folder) })
	for i, name := range [...]string{"shop-a", "shop-b"} {
		jobs := app.Jobs{URL: d.enqueueURL, Token: os.Getenv("JOBS_TOKEN"), Folder: d.folder}
		handler, err := app.New(app.Options{Name: name, Database: db, Jobs: jobs, Logger: o.Logger})
		if err != nil {
			return nil, err
		}
		shop := &webServer{name: name, addr: o.Apps[i], handler: handler, log: o.Logger}
		if err := shop.start(); err != nil {
			return nil, err
		}
		d.apps[i] = shop
		d.undo = append(d.undo, shop.shutdown)
	}

	shared, err := server.NewShared()
	if err != nil {
		return nil, err
	}
	d.undo = append(d.undo, func(context.Context) error { shared.Close(); return nil })
	for i := range d.gateways {
		d.gateways[i] = &gateway{name: fmt.Sprint("gateway-", i+1), env: d.variables(o, i), shared: shared, log: o.Logger, addr: o.Gateways[i]}
		d.undo = append(d.undo, d.gateways[i].shutdown)
		if err := d.gateways[i].start(); err != nil {
			return nil, err
		}
	}

	handler, closeBalancer, err := newBalancer([2]string{d.gateways[0].Addr(), d.gateways[1].Addr()}, o.Logger)
	if err != nil {
		return nil, err
	}
	d.undo = append(d.undo, func(context.Context) error { closeBalancer(); return nil })
	d.balancer = &webServer{name: "balancer", addr: o.Balancer, handler: handler, log: o.Logger}
	if err := d.balancer.start(); err != nil {
		return nil, err
	}
	d.undo = append(d.undo, d.balancer.shutdown)
	return d, nil
}

// enqueueURL is where the app servers enqueue: at the admin listener of a gateway that runs.
func (d *demo) enqueueURL() string {
	for _, g := range d.gateways {
		if addr := g.adminAddr(); addr != "" {
			return "http://" + addr
		}
	}
	return "http://127.0.0.1:9901" // which refuses the connection, as no gateway runs
}

// variables are those of a gateway's policy, but for the address that it listens on.
func (d *demo) variables(o demoOptions, i int) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "SHOP_ADMIN":
			return o.Admins[i], true
		case "SHOP_A":
			return d.apps[0].url(), true
		case "SHOP_B":
			return d.apps[1].url(), true
		case "SHOP_ACCESS_LOG":
			return o.AccessLog, true
		case "REDIS_URL":
			return o.RedisURL, true
		case "REDIS_TIMEOUT":
			return o.RedisTimeout, true
		}
		return os.LookupEnv(name)
	}
}

// close stops everything, the last that was started first.
func (d *demo) close(ctx context.Context) error {
	var errs []error
	for len(d.undo) > 0 {
		last := len(d.undo) - 1
		errs = append(errs, d.undo[last](ctx))
		d.undo = d.undo[:last]
	}
	return errors.Join(errs...)
}

// obey does what was typed and returns what to say.
func (d *demo) obey(line string) string {
	const help = "Type: stop a | stop b | start a | start b, for the app servers; stop 1 | stop 2 | start 1 | start 2, for the gateways"
	verb, which, _ := strings.Cut(strings.ToLower(strings.TrimSpace(line)), " ")
	name, process := d.process(strings.TrimSpace(which))
	switch {
	case verb == "":
		return ""
	case process == nil:
		return help
	case verb == "stop":
		process.kill()
		return name + " is gone."
	case verb == "start":
		if err := process.start(); err != nil {
			return err.Error()
		}
		return name + " is back."
	}
	return help
}

// process finds an app server or a gateway by what was typed; nil is none.
func (d *demo) process(which string) (name string, _ interface {
	start() error
	kill()
}) {
	switch strings.TrimPrefix(strings.TrimPrefix(which, "shop-"), "gateway-") {
	case "a":
		return d.apps[0].name, d.apps[0]
	case "b":
		return d.apps[1].name, d.apps[1]
	case "1":
		return d.gateways[0].name, d.gateways[0]
	case "2":
		return d.gateways[1].name, d.gateways[1]
	}
	return "", nil
}

func (d *demo) gatewayURL(i int) string { return "http://" + d.gateways[i].Addr() }

func (d *demo) welcome(out io.Writer, redisURL string) {
	site, one, two := d.balancer.url(), d.gatewayURL(0), d.gatewayURL(1)
	shared := "one store in this process"
	if redisURL != "" {
		shared = "Redis"
	}
	fmt.Fprintf(out, `
The shop is open:

  the site     %s      a balancer, which asks the gateways in turn
  gateways     %s, %s      both share %s
  app servers  %s, %s

See how slow the best sellers are, and how slow they are the second time, which the other gateway answers:

  curl -s -o /dev/null -w '%%{time_total} s\n' %s/products/top
  curl -s -o /dev/null -w '%%{time_total} s\n' %s/products/top

Ask 101 times within a minute, and once from another address:

  curl -s -o /dev/null -w '%%{http_code}\n' '%s/?[1-101]' | sort | uniq -c
  curl -s -o /dev/null -w '%%{http_code}\n' --interface 127.0.0.2 %s/

Log in at one gateway, be known at the other:

  curl -s -c jar -d login=ada -d password=analytical-engine %s/login
  curl -s -b jar %s/ | grep -o 'Welcome back, [^.]*'

More in examples/shop/README.md. Type "stop a" to kill an app server, "stop 1" to kill a gateway, "start a" or "start 1" to have it back; Ctrl-C ends all.

`, site, one, two, shared, d.apps[0].url(), d.apps[1].url(), site, site, site, site, one, two)
}
