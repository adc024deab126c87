package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/headgate/headgate/examples/shop/app"
)

func login(name, password, next string) url.Values {
	return url.Values{"login": {name}, "password": {password}, "next": {next}}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for _, c := range []struct {
		name     string
		form     url.Values
		status   int
		user     string // Headgate-Login
		location string
	}{
		{"right password", login("ada", "analytical-engine", ""), 303, "42", "/"},
		{"goes where the visitor wanted to", login("admin", "open-sesame", "/admin?q=lamp"), 303, "1", "/admin?q=lamp"},
		{"does not leave the shop", login("ada", "analytical-engine", "https://evil.example/"), 303, "42", "/"},
		{"wrong password", login("ada", "difference-engine", ""), 401, "", ""},
		{"another's password", login("ada", "nanoseconds", ""), 401, "", ""},
		{"no password", login("ada", "", ""), 401, "", ""},
		{"endless password", login("ada", strings.Repeat("x", 5000), ""), 401, "", ""},
		{"unknown login", login("nobody", "analytical-engine", ""), 401, "", ""},
		{"login in the wrong case", login("ADA", "analytical-engine", ""), 401, "", ""},
		{"nothing", nil, 401, "", ""},
		{"form beyond all measure", login("ada", strings.Repeat("x", 1<<20), ""), 401, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := post(shop, "/login", c.form)
			if w.Code != c.status || w.Header().Get("Headgate-Login") != c.user || w.Header().Get("Location") != c.location {
				t.Errorf("status %d, Headgate-Login %q, Location %q; want %d, %q, %q",
					w.Code, w.Header().Get("Headgate-Login"), w.Header().Get("Location"), c.status, c.user, c.location)
			}
			if c.status == 401 && !strings.Contains(w.Body.String(), "No such login, or not its password.") {
				t.Error("the form does not say what went wrong")
			}
		})
	}
}

func TestLoginFormKeepsWhatWasTypedButThePassword(t *testing.T) {
	t.Parallel()
	body := post(newShop(t), "/login", login(`ada"><b>`, "secret-of-mine", "/cart")).Body.String()
	if !strings.Contains(body, `value="ada&#34;&gt;&lt;b&gt;"`) || !strings.Contains(body, `value="/cart"`) {
		t.Error("the login or the page to return to is lost, or not escaped")
	}
	if strings.Contains(body, "secret-of-mine") {
		t.Error("the password is sent back")
	}
}

func TestOnlyLocalPathsAreReturnedTo(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"":                     "/",
		"/":                    "/",
		"/cart":                "/cart",
		"/admin?q=//x":         "/admin?q=//x",
		"cart":                 "/",
		"//evil.example":       "/",
		`/\evil.example`:       "/",
		"/\t/evil.example":     "/",
		"/\n/evil.example":     "/",
		"https://evil.example": "/",
		"javascript:alert(1)":  "/",
	} {
		if got := app.LocalPath(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestPasswordsAreSaltedAndChecked(t *testing.T) {
	t.Parallel()
	one, two := app.HashPassword("p", 10), app.HashPassword("p", 10)
	if one == two {
		t.Error("two hashes of a password are equal: no salt")
	}
	if !app.CheckPassword(one, "p") || app.CheckPassword(one, "q") {
		t.Error("a password is not told from another")
	}
	for _, broken := range []string{"", "p", "$$$", "md5$10$AAAA$AAAA", strings.Replace(one, "$10$", "$0$", 1),
		strings.Replace(one, "$10$", "$11$", 1), one[:len(one)-1] + "!", one[:strings.LastIndexByte(one, '$')+1]} {
		if app.CheckPassword(broken, "p") {
			t.Errorf("stored value %q matches", broken)
		}
	}
}

func TestLogoutTellsTheGatewayWhatToEnd(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for everywhere, want := range map[string]string{"": "session", "1": "everywhere"} {
		w := post(shop, "/logout", url.Values{"everywhere": {everywhere}}, asAda)
		if w.Code != 303 || w.Header().Get("Headgate-Logout") != want {
			t.Errorf("everywhere=%q: %d, Headgate-Logout %q, want %q", everywhere, w.Code, w.Header().Get("Headgate-Logout"), want)
		}
	}
	if w := get(shop, "/logout", asAda); w.Header().Get("Headgate-Logout") != "" {
		t.Error("a GET logs out")
	}
}

func TestHomeGreetsWhomTheGatewayNames(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for user, want := range map[string]string{"42": "Welcome back, Ada Lovelace.", "": "slowly listed", "999": "slowly listed", "x": "slowly listed"} {
		if w := get(shop, "/", "Headgate-User: "+user); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("user %q: %d, page does not say %q", user, w.Code, want)
		}
	}
}

func TestCartChangesOneLineOfTheSession(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	full := make([]string, 50)
	for i := range full {
		full[i] = fmt.Sprintf(`"%d":1`, 100+i)
	}
	fullCart := `Headgate-Session: {"cart":{` + strings.Join(full, ",") + `}}`

	for _, c := range []struct {
		name              string
		product, quantity string
		session           string
		status            int
		merge             string
	}{
		{"put in", "7", "2", "", 303, `{"cart":{"7":2}}`},
		{"take out", "7", "0", "", 303, `{"cart":{"7":null}}`},
		{"take out what is no longer sold", "5000", "0", "", 303, `{"cart":{"5000":null}}`},
		{"put in what is not sold", "5000", "1", "", 404, ""},
		{"not a product", `7":1,"x`, "1", "", 404, ""},
		{"too many", "7", "100", "", 400, ""},
		{"negative", "7", "-1", "", 400, ""},
		{"not a number", "7", "many", "", 400, ""},
		{"one line too many", "7", "1", fullCart, 400, ""},
		{"change in a full cart", "100", "5", fullCart, 303, `{"cart":{"100":5}}`},
		{"take out of a full cart", "100", "0", fullCart, 303, `{"cart":{"100":null}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := post(shop, "/cart", url.Values{"product": {c.product}, "quantity": {c.quantity}}, c.session)
			if w.Code != c.status || w.Header().Get("Headgate-Session-Merge") != c.merge {
				t.Errorf("%d, Headgate-Session-Merge %q; want %d, %q", w.Code, w.Header().Get("Headgate-Session-Merge"), c.status, c.merge)
			}
		})
	}
}

func TestCartShowsTheSession(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	body := get(shop, "/cart", `Headgate-Session: {"cart":{"2":3,"1":1,"5000":9},"other":true}`).Body.String()
	_, one := app.ProductName(0)
	_, two := app.ProductName(1)
	first, second := strings.Index(body, one), strings.Index(body, two)
	if first < 0 || second < first {
		t.Errorf("%q and %q are not on the page, in this order", one, two)
	}
	if !strings.Contains(body, `name="quantity" value="3"`) || strings.Contains(body, "5000") {
		t.Error("wrong quantity, or a product that is not sold")
	}
}

func TestCartThatCannotBeReadIsEmpty(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "x", "null", "[]", `{"cart":7}`, `{"cart":{"x":1}}`, `{"cart":{"-1":1,"0":1}}`,
		`{"cart":{"1":0,"2":-1,"3":100}}`, `{"cart":{"99999999999999999999":1}}`, `{"cart":null}`} {
		r := request(http.MethodGet, "/cart", nil, "Headgate-Session: "+data)
		if cart := app.CartOf(r); len(cart) != 0 {
			t.Errorf("%s: cart %v", data, cart)
		}
	}
	r := request(http.MethodGet, "/cart", nil, `Headgate-Session: {"cart":{"1":2,"x":1,"7":99}}`)
	if got, want := app.CartOf(r), map[int64]int{1: 2, 7: 99}; !maps.Equal(got, want) {
		t.Errorf("cart %v, want %v", got, want)
	}
}

func TestBackOfficeIsForTheShopkeeperAlone(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	edit := url.Values{"name": {"Gold Teapot"}, "price": {"1"}}
	for _, c := range []struct {
		name, user  string
		page, saved int
	}{
		{"nobody", "", 401, 401},
		{"a customer", asAda, 403, 403},
		{"someone deleted", "Headgate-User: 999", 401, 401},
		{"the shopkeeper", asAdmin, 200, 303},
	} {
		t.Run(c.name, func(t *testing.T) {
			if w := get(shop, "/admin", c.user); w.Code != c.page {
				t.Errorf("GET /admin: %d, want %d", w.Code, c.page)
			}
			if w := post(shop, "/admin/products/1", edit, c.user); w.Code != c.saved {
				t.Errorf("POST: %d, want %d", w.Code, c.saved)
			}
		})
	}
}

func TestEditShowsOnTheTopPage(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	best := top(t, shop).Products[0]
	w := post(shop, fmt.Sprintf("/admin/products/%d", best.ID), url.Values{"name": {"  Best <i>of</i>   all "}, "price": {"1234.5"}}, asAdmin)
	if w.Code != 303 || w.Header().Get("Location") != "/products/top" {
		t.Fatalf("edit: %d to %q", w.Code, w.Header().Get("Location"))
	}
	now := top(t, shop).Products[0]
	if now.ID != best.ID || now.Name != "Best <i>of</i> all" || now.Price != 123450 || now.Units != best.Units {
		t.Errorf("after the edit: %+v", now)
	}
	page := get(shop, "/products/top").Body.String()
	if !strings.Contains(page, "Best &lt;i&gt;of&lt;/i&gt; all") || !strings.Contains(page, "€ 1,234.50") {
		t.Error("the page does not show the edit, or does not escape it")
	}
}

func TestEditsThatAreRefusedChangeNothing(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	before := get(shop, "/products/1").Body.String()
	for _, c := range []struct {
		path, name, price string
		status            int
	}{
		{"/admin/products/1", "", "1", 400},
		{"/admin/products/1", "   ", "1", 400},
		{"/admin/products/1", strings.Repeat("x", 81), "1", 400},
		{"/admin/products/1", "\xff", "1", 400},
		{"/admin/products/1", "x", "0", 400},
		{"/admin/products/1", "x", "free", 400},
		{"/admin/products/5000", "x", "1", 404},
		{"/admin/products/x", "x", "1", 404},
	} {
		if w := post(shop, c.path, url.Values{"name": {c.name}, "price": {c.price}}, asAdmin); w.Code != c.status {
			t.Errorf("%s name=%q price=%q: %d, want %d", c.path, c.name, c.price, w.Code, c.status)
		}
	}
	if after := get(shop, "/products/1").Body.String(); after != before {
		t.Error("a refused edit changed the product")
	}
}

func TestPrices(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"1": 100, "12.5": 1250, "12.50": 1250, " 0.01 ": 1, "12.": 1200,
		"": 0, "0": 0, "0.00": 0, ".": 0, "-1": 0, "+1": 0, "1.234": 0, "1,50": 0, "1e3": 0, "1.-5": 0, "99999999999": 0,
	} {
		got, err := app.ParseCents(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestBackOfficeSearch(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	body := get(shop, "/admin?q=OAK", asAdmin).Body.String()
	if n := strings.Count(body, `action="/admin/products/`); n == 0 || n != strings.Count(body, `value="Oak `) {
		t.Errorf("search for OAK shows %d products, of which %d are of oak", n, strings.Count(body, `value="Oak `))
	}
	if body := get(shop, "/admin?q=%25", asAdmin).Body.String(); !strings.Contains(body, "No product is called that.") {
		t.Error("a per cent sign finds products: it is taken for a pattern")
	}
}
