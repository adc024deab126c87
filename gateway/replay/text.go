package replay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteJSON writes the report as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// WriteText writes the report for a terminal, or whatever shows text in columns.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	t := textReport{b}
	t.heading(r)
	t.outcome(r)
	t.limits(&r.Policy)
	t.clients(r, &r.Policy)
	t.routes(&r.Policy)
	t.unmatched(&r.Policy.Unmatched)
	t.cache(r.Policy.Cache)
	if r.Diff != nil {
		t.diff(r)
	}
	t.notes(r.Notes)
	return b.Flush()
}

type textReport struct{ w *bufio.Writer }

func (t textReport) printf(format string, args ...any) { fmt.Fprintf(t.w, format, args...) }

func (t textReport) title(s string) { t.printf("\n%s\n", s) }

func (t textReport) heading(r *Report) {
	t.printf("%s requests", count(r.Requests))
	if r.Requests > 0 {
		t.printf(", %s to %s UTC (%s)", stamp(r.First), stamp(r.Last), duration(Seconds(r.Last.Sub(r.First).Seconds())))
	}
	t.printf(", under %s\n", r.Policy.Name)
	for _, l := range r.Logs {
		t.printf("  %s: %s, %s, %s lines", l.Name, l.Format, l.Compression, count(l.Lines))
		if l.BadLines > 0 {
			t.printf(", %s of them bad", count(l.BadLines))
		}
		t.printf("\n")
		for _, bad := range l.Bad {
			t.printf("    %s:%d: %s: %s\n", l.Name, bad.Line, bad.Reason, bad.Text)
		}
		if more := l.BadLines - int64(len(l.Bad)); more > 0 {
			t.printf("    and %s more\n", count(more))
		}
	}
}

func (t textReport) outcome(r *Report) {
	p := &r.Policy
	t.title("What would have happened")
	rows := table{right: []int{1, 2}}
	add := func(name string, n int64) {
		if n > 0 || name == "denied" || name == "admitted" {
			rows.add(name, count(n), percent(n, r.Requests))
		}
	}
	add("admitted", p.Admitted)
	add("denied", p.Denied)
	add("denied, but for dry_run", p.DryRunDenied)
	add("network of server.deny, 403", p.Networks)
	add("under maintenance, 503", p.Maintenance)
	add("no one of server.purge_method, 403", p.Purges)
	add("no route, 404", p.Unmatched.NotFound)
	add("no such method, 405", p.Unmatched.MethodNotAllowed)
	add("malformed, 400", p.Unmatched.BadRequest)
	rows.write(t.w)
	if r.Live.Denied > 0 {
		t.printf("  In the log, %s were denied: %s of them here as well, %s not, and %s others are.\n",
			count(r.Live.Denied), count(r.Live.Both), count(r.Live.OnlyLive), count(r.Live.OnlyReplay))
	}
	if s := p.Series; len(s.Points) > 1 {
		t.printf("  requests  %s\n", sparkline(s.Points, func(p Point) int64 { return p.Requests }))
		if p.Denied > 0 {
			t.printf("  denied    %s\n", sparkline(s.Points, func(p Point) int64 { return p.Denied }))
		}
	}
}

func (t textReport) limits(p *PolicyResult) {
	if len(p.Limits) == 0 {
		return
	}
	t.title("Limits")
	rows := table{header: []string{"LIMIT", "DENIED", "CLIENTS", "LIKE BOTS", "ADMITS"}, right: []int{1, 2, 3}}
	for _, l := range p.Limits {
		rule := l.Rule
		if l.DryRun {
			rule += " (dry run)"
		}
		rows.add(l.Name, count(l.Denied), count(l.Clients), count(l.Bots), rule)
		if len(l.ByRoute) > 1 {
			for _, route := range l.ByRoute {
				rows.add("  on "+route.Route, count(route.Denied))
			}
		}
		if l.ByBan > 0 {
			rows.add("  by its ban", count(l.ByBan))
		}
	}
	rows.write(t.w)
}

func (t textReport) clients(r *Report, p *PolicyResult) {
	if p.CutOff.Clients == 0 {
		t.title(fmt.Sprintf("No client of %s would have been cut off", atLeast(r.Clients, r.AtLeast)))
		return
	}
	t.title(fmt.Sprintf("%s of %s clients would have been cut off, %s look like bots",
		count(p.CutOff.Clients), atLeast(r.Clients, r.AtLeast), count(p.CutOff.Bots)))
	rows := table{header: []string{"CLIENT", "REQUESTS", "DENIED", "WORST MINUTE, UTC", "DENIED IN IT", "BY", "USER AGENT"}, right: []int{1, 2, 4}}
	for _, c := range p.CutOff.Top {
		by := make([]string, len(c.Limits))
		for i, l := range c.Limits {
			by[i] = l.Limit
		}
		agent := shorten(printable(c.Agent), 40)
		if c.Bot {
			agent = strings.TrimSpace("(bot) " + agent)
		}
		rows.add(c.Client, count(c.Requests), count(c.Denied), c.WorstMinute.Format("2006-01-02 15:04"),
			count(c.WorstMinuteDenied)+" of "+count(c.WorstMinuteRequests), strings.Join(by, " "), agent)
	}
	rows.write(t.w)
}

func (t textReport) routes(p *PolicyResult) {
	t.title("Routes")
	rows := table{header: []string{"ROUTE", "REQUESTS", "DENIED", "", "DRY RUN"}, right: []int{1, 2, 3, 4}}
	for _, r := range p.Routes {
		rows.add(printable(r.Name), count(r.Requests), count(r.Denied), percent(r.Denied, r.Requests), count(r.DryRunDenied))
	}
	rows.write(t.w)
}

func (t textReport) unmatched(u *Unmatched) {
	if len(u.Top) == 0 {
		return
	}
	title := "Asked for most often, of what no route takes"
	if u.Approximate {
		title += " (roughly)"
	}
	t.title(title)
	rows := table{right: []int{0}}
	for _, p := range u.Top {
		rows.add(count(p.Count), strconv.Itoa(p.Status), shorten(printable(p.Method+" "+p.Path), 80))
	}
	rows.write(t.w)
}

func (t textReport) cache(c *CacheEstimate) {
	if c == nil {
		return
	}
	t.title("Cache (an estimate, see the notes)")
	rows := table{header: []string{"", "REQUESTS", "HITS", "", "STALE", "ORIGIN SAVED"}, right: []int{1, 2, 3, 4, 5}}
	add := func(name string, c CacheCount) {
		rows.add(name, count(c.Requests), count(c.Hits), percent(c.Hits, c.Requests), count(c.Stale), count(c.Saved()))
	}
	add("all", c.CacheCount)
	for _, r := range c.Rules {
		add("cache "+r.Name, r.CacheCount)
	}
	for _, r := range c.Routes {
		add("route "+printable(r.Name), r.CacheCount)
	}
	rows.write(t.w)
}

func (t textReport) diff(r *Report) {
	d := r.Diff
	t.title("Compared with " + r.Against.Name)
	if d.Same {
		t.printf("  Not one request is treated otherwise.\n")
		return
	}
	t.printf("  denied before: %s; now: %s\n", count(r.Against.Denied), count(r.Policy.Denied))
	t.side("newly denied", d.NewlyDenied)
	t.side("no longer denied", d.NoLongerDenied)
	for _, o := range d.OtherRoute {
		t.printf("  other route: %s requests, %s -> %s\n", count(o.Requests), printable(o.From), printable(o.To))
	}
	if d.CacheHits != 0 || d.OriginSaved != 0 {
		t.printf("  cache hits: %s; origin requests saved: %s (estimates)\n", signed(d.CacheHits), signed(d.OriginSaved))
	}
}

func (t textReport) side(name string, s DiffSide) {
	if s.Requests == 0 {
		t.printf("  %s: none\n", name)
		return
	}
	t.printf("  %s: %s requests of %s clients\n", name, count(s.Requests), count(s.Clients))
	rows := table{indent: "    ", right: []int{1}}
	for _, l := range s.ByLimit {
		rows.add("by limit "+l.Limit, count(l.Denied))
	}
	for _, l := range s.ByRoute {
		rows.add("on route "+printable(l.Route), count(l.Denied))
	}
	for _, c := range s.Top {
		bot := ""
		if c.Bot {
			bot = "looks like a bot"
		}
		rows.add(c.Client, count(c.Requests), bot)
	}
	rows.write(t.w)
}

func (t textReport) notes(notes []string) {
	if len(notes) == 0 {
		return
	}
	t.title("Notes")
	for _, n := range notes {
		t.printf("  - %s\n", n)
	}
}

// table is text in columns.
type table struct {
	indent string
	header []string
	right  []int // columns that are aligned to the right
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w *bufio.Writer) {
	rows := t.rows
	if t.header != nil {
		rows = append([][]string{t.header}, rows...)
	}
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if t.indent == "" {
		t.indent = "  "
	}
	for _, row := range rows {
		line := t.indent
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			right := false
			for _, r := range t.right {
				right = right || r == i
			}
			if right {
				line += pad + cell + "  "
			} else {
				line += cell + pad + "  "
			}
		}
		w.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// sparkline draws a course of time in at most 60 characters.
func sparkline(points []Point, of func(Point) int64) string {
	const width = 60
	n := min(width, len(points))
	sums := make([]int64, n)
	var most int64
	for i, p := range points {
		at := i * n / len(points)
		sums[at] += of(p)
		most = max(most, sums[at])
	}
	levels := []rune("▁▂▃▄▅▆▇█")
	line := make([]rune, n)
	for i, s := range sums {
		switch {
		case s == 0:
			line[i] = ' '
		default:
			line[i] = levels[int(math.Ceil(float64(s)/float64(most)*float64(len(levels))))-1]
		}
	}
	return strings.TrimRight(string(line), " ")
}

// count writes a number with its thousands apart.
func count(n int64) string {
	if n < 0 {
		return "-" + count(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func signed(n int64) string {
	if n > 0 {
		return "+" + count(n)
	}
	return count(n)
}

func atLeast(n int64, atLeast bool) string {
	if atLeast {
		return "about " + count(n)
	}
	return count(n)
}

func percent(part, whole int64) string {
	share := 100 * ratio(part, whole)
	switch {
	case part == 0:
		return "0 %"
	case share < 0.1:
		return "<0.1 %"
	}
	return strconv.FormatFloat(share, 'f', 1, 64) + " %"
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05") }

// duration shows a time span without more digits than it is worth.
func duration(s Seconds) string {
	d := time.Duration(float64(s) * float64(time.Second))
	switch {
	case d >= 48*time.Hour:
		return strconv.FormatFloat(d.Hours()/24, 'f', 1, 64) + " days"
	case d >= time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60), "00m")
	case d >= time.Minute:
		return strings.TrimSuffix(fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60), "00s")
	}
	return d.Round(time.Millisecond).String()
}

func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// printable replaces what would act on a terminal rather than be shown: a log
// holds what clients have sent.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}
