package observe

import (
	"context"
	"log/slog"
)

// maskHandler hides query parameters in lines of the gateway's own log: an error or a panic may quote what a client has sent.
type maskHandler struct {
	slog.Handler
	mask func() *QueryMask
}

// MaskLog returns a logger that writes to log's handler, and hides in each line what mask, asked for each of them, says.
func MaskLog(log *slog.Logger, mask func() *QueryMask) *slog.Logger {
	return slog.New(maskHandler{log.Handler(), mask})
}

func (h maskHandler) Handle(ctx context.Context, line slog.Record) error {
	m := h.mask()
	if m == nil {
		return h.Handler.Handle(ctx, line)
	}
	shown := slog.NewRecord(line.Time, line.Level, m.Apply(line.Message), line.PC)
	line.Attrs(func(a slog.Attr) bool {
		shown.AddAttrs(m.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, shown)
}

func (h maskHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	shown := make([]slog.Attr, len(attrs))
	m := h.mask()
	for i, a := range attrs {
		shown[i] = m.attr(a)
	}
	return maskHandler{h.Handler.WithAttrs(shown), h.mask}
}

func (h maskHandler) WithGroup(name string) slog.Handler {
	return maskHandler{h.Handler.WithGroup(name), h.mask}
}

// attr returns the attribute with the text of its value masked, and as it is where there is nothing to hide.
func (m *QueryMask) attr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindGroup:
		group := a.Value.Group()
		shown := make([]slog.Attr, len(group))
		for i := range group {
			shown[i] = m.attr(group[i])
		}
		a.Value = slog.GroupValue(shown...)
	case slog.KindString, slog.KindAny:
		text := a.Value.String()
		if masked := m.Apply(text); masked != text {
			a.Value = slog.StringValue(masked)
		}
	}
	return a
}
