package clientip

import "context"

type infoKey struct{}

// infoContext saves an allocation over context.WithValue, which would box the Info
// besides.
type infoContext struct {
	context.Context
	info Info
}

func (c *infoContext) Value(key any) any {
	if key == (infoKey{}) {
		return &c.info
	}
	return c.Context.Value(key)
}

// NewContext returns a context that carries info.
func NewContext(ctx context.Context, info Info) context.Context {
	return &infoContext{Context: ctx, info: info}
}

// FromContext is the Info that [NewContext] or the middleware put there; false if none
// has.
func FromContext(ctx context.Context) (Info, bool) {
	if info, ok := ctx.Value(infoKey{}).(*Info); ok {
		return *info, true
	}
	return Info{}, false
}
