package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// until polls for what jobs do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// An order's confirmation is a file in the folder of mails, which a job has written.
func TestAnOrdersConfirmationIsSentByAJob(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		site := d.balancer.url()
		ada := newVisitor(t, "127.0.0.21")
		if a := ada.do("POST", site+"/order", nil); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/login") {
			t.Errorf("without a session: %d %v", a.status, a.header)
		}
		ada.do("POST", site+"/login", url.Values{"login": {"ada"}, "password": {"analytical-engine"}})
		if a := ada.do("POST", site+"/order", nil); a.status != 400 {
			t.Errorf("an empty cart: %d", a.status)
		}
		ada.do("POST", site+"/cart", url.Values{"product": {"3"}, "quantity": {"2"}})
		if a := ada.do("POST", site+"/order", nil); a.status != 303 {
			t.Fatalf("an order: %d %s", a.status, a.body)
		}
		if a := ada.do("GET", site+"/cart", nil); !strings.Contains(a.body, "It is empty") {
			t.Error("the cart is not empty after the order")
		}
		var mails []string
		until(t, "the mail is there", func() bool {
			mails, _ = filepath.Glob(filepath.Join(d.folder, "mails-*.eml"))
			return len(mails) == 1
		})
		text, err := os.ReadFile(mails[0])
		if err != nil || !strings.HasPrefix(string(text), "To: ada\nSubject: Your order\n\n2 x ") {
			t.Errorf("%v\n%s", err, text)
		}
		if a := ada.do("POST", site+"/tasks/confirmation", url.Values{}); a.status != 404 {
			t.Errorf("a visitor sends a confirmation: %d", a.status)
		}
	})
}

// The back office rebuilds the table of best sellers as a job, and shows how it stands.
func TestTheTableOfBestSellersIsRebuiltByAJob(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		site := d.balancer.url()
		boss := newVisitor(t, "127.0.0.22")
		boss.do("POST", site+"/login", url.Values{"login": {"admin"}, "password": {"open-sesame"}})
		if a := boss.do("GET", site+"/admin", nil); !strings.Contains(a.body, "Not built yet") {
			t.Errorf("before: %d %s", a.status, a.body)
		}
		if a := boss.do("POST", site+"/admin/best-sellers", nil); a.status != 303 {
			t.Fatalf("rebuild: %d %s", a.status, a.body)
		}
		until(t, "it is built", func() bool {
			text, _ := os.ReadFile(filepath.Join(d.folder, "best-sellers.json"))
			return strings.Contains(string(text), `"state":"built"`)
		})
		if a := boss.do("GET", site+"/admin", nil); !strings.Contains(a.body, "Built at ") {
			t.Errorf("after: %d %s", a.status, a.body)
		}
		ada := newVisitor(t, "127.0.0.23")
		ada.do("POST", site+"/login", url.Values{"login": {"ada"}, "password": {"analytical-engine"}})
		if a := ada.do("POST", site+"/admin/best-sellers", nil); a.status != 403 {
			t.Errorf("a customer rebuilds the table: %d", a.status)
		}
	})
}
