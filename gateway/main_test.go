package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script run the program as people do, and compare
// what it says. Adding a test is adding a file; -update writes golden output.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	if os.Getenv(asBallast) != "" {
		reportBallast()
		os.Exit(0)
	}
	if addr := os.Getenv(asApp); addr != "" {
		serveFaultyApp(addr)
	}
	testscript.Main(m, map[string]func(){
		"headgate": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// asProgram in the environment makes the test binary the program itself, for
// tests that need it as a process.
const asProgram = "HEADGATE_TEST_AS_PROGRAM"

// asApp in the environment makes it an app server, on the address that it holds.
const asApp = "HEADGATE_TEST_AS_APP"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE") != "",
	})
}
