package clientip

import "context"

type infoKey struct{}

// Context is a context that carries an Info, in one allocation: context.WithValue would
// box the Info besides. A context of one's own that embeds it needs none at all.
type Context struct {
	context.Context
	Info Info
}

// Value implements context.Context.
func (c *Context) Value(key any) any {
	if key == (infoKey{}) {
		return &c.Info
	}
	return c.Context.Value(key)
}

// NewContext returns a context that carries info.
func NewContext(ctx context.Context, info Info) context.Context {
	return &Context{Context: ctx, Info: info}
}

// FromContext is the Info that [NewContext] or the middleware put there; false if none
// has.
func FromContext(ctx context.Context) (Info, bool) {
	if info, ok := ctx.Value(infoKey{}).(*Info); ok {
		return *info, true
	}
	return Info{}, false
}
