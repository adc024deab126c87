package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Work off the request. The shop enqueues it with one HTTP request at the gateway, which asks one of the app servers for it at a
// path below /tasks/, later, and again where that fails. No client reaches these paths: the policy answers them itself.

// Jobs is where the shop enqueues, and where jobs leave what they have made.
type Jobs struct {
	// URL returns that of a gateway's admin listener, or of its jobs.listen. Nil: orders are not taken.
	URL func() string
	// Token is the gateway's jobs.token; "" where it has none.
	Token string
	// Folder is shared by the app servers: mails are files in it, and so is the table of best sellers.
	Folder string
}

// headerJob names the job that a request is an attempt at.
const headerJob = "Headgate-Job"

// enqueue has the gateway ask for a path later. The gateway answers when the job is stored.
func (s *Server) enqueue(ctx context.Context, queue, path string, body any) error {
	if s.jobs.URL == nil {
		return errors.New("the shop was started without a gateway to enqueue at")
	}
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	job, err := json.Marshal(map[string]string{"url": path, "upstream": "shop", "body": string(content)})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.jobs.URL()+"/jobs/"+queue, bytes.NewReader(job))
	if err != nil {
		return err
	}
	if s.jobs.Token != "" {
		r.Header.Set("Authorization", "Bearer "+s.jobs.Token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)); res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the gateway answers %d: %s", res.StatusCode, text)
	}
	return nil
}

// confirmation is what a mail about an order says.
type confirmation struct {
	To    string   `json:"to"`
	Lines []string `json:"lines"`
	Total string   `json:"total"`
}

// order takes the order of what is in the cart. The visitor does not wait for the mail.
func (s *Server) order(w http.ResponseWriter, r *http.Request) error {
	visitor, err := s.visitor(r)
	if err != nil {
		return err
	}
	if visitor == nil {
		return errNotLoggedIn
	}
	cart := cartOf(r)
	ids := slices.Sorted(maps.Keys(cart))
	products, err := s.db.products(r.Context(), ids)
	if err != nil {
		return err
	}
	mail, total := confirmation{To: visitor.Login}, cents(0)
	for _, id := range ids {
		if p, ok := products[id]; ok {
			mail.Lines = append(mail.Lines, fmt.Sprintf("%d x %s", cart[id], p.Name))
			total += p.Price * cents(cart[id])
		}
	}
	if len(mail.Lines) == 0 {
		return badRequest("There is nothing in the cart.")
	}
	mail.Total = total.String()
	if err := s.enqueue(r.Context(), "mails", "/tasks/confirmation", mail); err != nil {
		return fmt.Errorf("enqueue a confirmation: %w", err)
	}
	w.Header().Set(headerMerge, `{"cart":null}`)
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
	return nil
}

// sendConfirmation writes the mail. Its file has the job's name: a second attempt writes the same one.
func (s *Server) sendConfirmation(w http.ResponseWriter, r *http.Request) error {
	var mail confirmation
	if err := json.NewDecoder(r.Body).Decode(&mail); err != nil {
		return badRequest("That is no confirmation.")
	}
	job := r.Header.Get(headerJob)
	if job == "" || job != filepath.Base(job) {
		return badRequest("That is no job.")
	}
	text := fmt.Sprintf("To: %s\nSubject: Your order\n\n%s\n\nTotal: %s\n", mail.To, strings.Join(mail.Lines, "\n"), mail.Total)
	if err := s.writeFile(job+".eml", []byte(text)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// bestSellerTable is the table that the back office rebuilds, and how that stands.
type bestSellerTable struct {
	State   string       `json:"state"` // "": never built; queued, built
	Asked   time.Time    `json:"asked,omitzero"`
	Built   time.Time    `json:"built,omitzero"`
	Server  string       `json:"server,omitempty"`
	Took    int64        `json:"took_ms,omitempty"`
	Sellers []bestSeller `json:"sellers,omitempty"`
}

const tableFile = "best-sellers.json"

// table reads the table; none was built where there is no file.
func (s *Server) table() (t bestSellerTable, err error) {
	text, err := os.ReadFile(filepath.Join(s.jobs.Folder, tableFile))
	if errors.Is(err, os.ErrNotExist) || s.jobs.Folder == "" {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	return t, err
}

// rebuild has the table of best sellers built as a job.
func (s *Server) rebuild(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.admin(r); err != nil {
		return err
	}
	t, err := s.table()
	if err != nil {
		return err
	}
	t.State, t.Asked = "queued", time.Now().UTC()
	if err := s.writeTable(t); err != nil {
		return err
	}
	if err := s.enqueue(r.Context(), "tables", "/tasks/best-sellers", struct{}{}); err != nil {
		return fmt.Errorf("enqueue the table of best sellers: %w", err)
	}
	http.Redirect(w, r, "/admin", http.StatusSeeOther)
	return nil
}

// buildTable builds the table, in the seconds that the slow query takes.
func (s *Server) buildTable(w http.ResponseWriter, r *http.Request) error {
	began := time.Now()
	sellers, _, err := s.db.bestSellers(r.Context(), s.name, topLimit)
	if err != nil {
		return err
	}
	t, err := s.table()
	if err != nil {
		return err
	}
	t.State, t.Built, t.Server, t.Took, t.Sellers = "built", time.Now().UTC(), s.name, time.Since(began).Milliseconds(), sellers
	if err := s.writeTable(t); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) writeTable(t bestSellerTable) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.writeFile(tableFile, text)
}

// writeFile replaces a file of the folder at once.
func (s *Server) writeFile(name string, text []byte) error {
	if s.jobs.Folder == "" {
		return errors.New("the shop was started without a folder for what jobs make")
	}
	file, err := os.CreateTemp(s.jobs.Folder, ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), filepath.Join(s.jobs.Folder, name))
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
