package app_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headgate/headgate/examples/shop/app"
)

func TestGeneratedDataDependOnSizeAlone(t *testing.T) {
	t.Parallel()
	first, err := openSmall(t).Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := openSmall(t).Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two databases of one size differ:\n%s", diff)
	}
	if len(first) < small.Products+small.Customers+2*small.Orders {
		t.Errorf("only %d rows", len(first))
	}
}

func TestFewProductsMakeMostOfTheSales(t *testing.T) {
	t.Parallel()
	share, err := openSmall(t).Share(t.Context(), small.Products/5)
	if err != nil {
		t.Fatal(err)
	}
	if share < 0.4 || share > 0.9 {
		t.Errorf("a fifth of the products make %.0f%% of the sales, want most but not all", 100*share)
	}
}

func TestProductNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for i := range 10_000 {
		_, name := app.ProductName(i)
		if other, ok := seen[name]; ok {
			t.Fatalf("products %d and %d are both called %s", other, i, name)
		}
		seen[name] = i
	}
}

func TestSeveralWhoOpenAtOnceShareOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.db")
	opened := make([]*app.Database, 3)
	var all sync.WaitGroup
	for i := range opened {
		all.Go(func() {
			var err error
			if opened[i], err = app.Open(t.Context(), path, small); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, db := range opened {
		defer db.Close()
		if got := top(t, newServer(t, db, "a")).Runs; got != int64(i)+1 {
			t.Errorf("opener %d sees run %d, want %d: it has a file of its own", i, got, i+1)
		}
	}
	if drafts, _ := filepath.Glob(filepath.Join(dir, ".shop-*")); len(drafts) > 0 {
		t.Errorf("drafts left behind: %v", drafts)
	}
}

func TestEditsOutliveARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	for i := range 3 {
		db, err := app.Open(t.Context(), path, small)
		if err != nil {
			t.Fatal(err)
		}
		if got := top(t, newServer(t, db, "a")).Runs; got != int64(i)+1 {
			t.Errorf("start %d: run %d, want %d", i, got, i+1)
		}
		db.Close()
	}
}

func TestInterruptedGenerationLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := app.Open(ctx, filepath.Join(dir, "shop.db"), small); err == nil {
		t.Fatal("opened although it was interrupted")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDatabaseThatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := app.Open(t.Context(), path, small)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetVersion(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := app.Open(t.Context(), path, small); err == nil || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("another version: error %v does not say how to mend it", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Open(t.Context(), path, small); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("not a database: error %v does not name the file", err)
	}
}

func TestPathNeedsNoEscaping(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a shop? 100% #1.db")
	db, err := app.Open(t.Context(), path, small)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestAnySizeMakesAShop(t *testing.T) {
	t.Parallel()
	for _, size := range []app.Size{
		{Products: 1, Orders: 1},
		{Products: 1, Customers: 1, Orders: 10, Reviews: 1},
		{Products: 199, Orders: 101, Customers: 1, Reviews: 99}, // around the inserter's batches of 100
	} {
		size.PasswordIterations = 1
		db, err := app.Open(t.Context(), filepath.Join(t.TempDir(), "shop.db"), size)
		if err != nil {
			t.Errorf("%+v: %v", size, err)
			continue
		}
		if len(top(t, newServer(t, db, "a")).Products) == 0 {
			t.Errorf("%+v: no best sellers", size)
		}
		db.Close()
	}
}
