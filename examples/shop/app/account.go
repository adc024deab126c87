package app

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

var (
	errNotLoggedIn = errors.New("not logged in")
	errForbidden   = errors.New("forbidden")
)

// visitor returns who the gateway says is logged in, or nil. A user who has
// been deleted since is nobody.
func (s *Server) visitor(r *http.Request) (*user, error) {
	id := r.Header.Get(headerUser)
	if id == "" {
		return nil, nil
	}
	u, err := s.db.userByID(r.Context(), id)
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	return &u, err
}

type loginPage struct {
	Login string
	Next  string
	Wrong bool
	Users []demoUser
}

func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "login", "Log in", loginPage{
		Next:  localPath(r.URL.Query().Get("next")),
		Users: demoUsers,
	})
}

// login checks a password and tells the gateway who has logged in. The gateway
// makes the session, and counts the failures: to it a login is what carries
// Headgate-Login, and all else here is an attempt.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	login, next := r.PostFormValue("login"), localPath(r.PostFormValue("next"))

	u, err := s.db.userByLogin(r.Context(), login)
	known := err == nil
	if errors.Is(err, errNotFound) {
		u.password = s.decoy
	} else if err != nil {
		return err
	}
	if right := checkPassword(u.password, r.PostFormValue("password")); !right || !known {
		return s.render(w, r, http.StatusUnauthorized, "login", "Log in", loginPage{
			Login: login, Next: next, Wrong: true, Users: demoUsers,
		})
	}
	w.Header().Set(headerLogin, strconv.FormatInt(u.ID, 10))
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// logout ends this session, or with everywhere=1 all sessions of the user.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	scope := "session"
	if r.PostFormValue("everywhere") == "1" {
		scope = "everywhere"
	}
	w.Header().Set(headerLogout, scope)
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// localPath returns path if a redirect to it stays in the shop, else "/".
// Browsers take "//host" and "/\host" for other hosts, and drop tabs and line
// ends before they look.
func localPath(path string) string {
	if !strings.HasPrefix(path, "/") || len(path) > 1 && (path[1] == '/' || path[1] == '\\') ||
		strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "/"
	}
	return path
}
