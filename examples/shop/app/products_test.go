package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/headgate/headgate/examples/shop/app"
)

type topAnswer struct {
	Server   string          `json:"server"`
	Runs     int64           `json:"query_runs"`
	Products []app.TopRecord `json:"products"`
}

func top(t *testing.T, shop http.Handler) topAnswer {
	t.Helper()
	w := get(shop, "/api/products/top")
	var answer topAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
		t.Errorf("/api/products/top: %d, %v: %s", w.Code, err, w.Body)
	}
	return answer
}

func TestTopListIsWhatAddingUpAllOrdersByHandGives(t *testing.T) {
	t.Parallel()
	db := openSmall(t)
	want, err := db.TopByHand(t.Context(), 50)
	if err != nil {
		t.Fatal(err)
	}
	got := top(t, newServer(t, db, "a"))
	if len(got.Products) != 50 {
		t.Fatalf("%d products, want 50", len(got.Products))
	}
	if diff := cmp.Diff(want, got.Products, cmpopts.EquateComparable(app.TopRecord{})); diff != "" {
		t.Errorf("top list (-by hand +by SQL):\n%s", diff)
	}
}

func TestEachRequestRunsTheQueryAndAllServersCountTogether(t *testing.T) {
	t.Parallel()
	db := openSmall(t)
	a, b := newServer(t, db, "a"), newServer(t, db, "b")
	for i, shop := range []*app.Server{a, a, b, a} {
		if got := top(t, shop); got.Runs != int64(i)+1 {
			t.Errorf("run %d says it was run %d", i+1, got.Runs)
		}
	}
	home := get(b, "/").Body.String()
	for _, want := range []string{`<td>a</td><td class="n">3×</td>`, `<td>b</td><td class="n">1×</td>`, "<strong>4</strong> times"} {
		if !strings.Contains(home, want) {
			t.Errorf("home page does not show %q", want)
		}
	}
}

func TestConcurrentRunsHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	db := openSmall(t)
	a, b := newServer(t, db, "a"), newServer(t, db, "b")
	var all sync.WaitGroup
	var runs [8]int64
	for i := range runs {
		all.Go(func() { runs[i] = top(t, []*app.Server{a, b}[i%2]).Runs })
	}
	all.Wait()
	slices.Sort(runs[:])
	for i, run := range runs {
		if run != int64(i)+1 {
			t.Fatalf("runs are numbered %v, want each of 1 to 8 once", runs)
		}
	}
}

func TestTopPageShowsTheSameAsTheAPI(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	list := top(t, shop)
	page := get(shop, "/products/top").Body.String()
	from := 0
	for _, p := range list.Products {
		at := strings.Index(page[from:], p.Name)
		if at < 0 {
			t.Fatalf("rank %d, %s, is not in its place on the page", p.Rank, p.Name)
		}
		from += at
	}
}
