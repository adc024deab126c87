package session

import "sync"

// Stream is an open response that ends with its session: a WebSocket, or a body that goes on.
type Stream interface {
	// Used reports whether the client has sent anything since the last call, which
	// counts as use of the session.
	Used() bool
	// End ends the response. It does not wait for that, and may be called more than once, also
	// when the response has ended by itself.
	End()
}

// Follow ends a stream when the request's session has ended, wherever that happens: within two
// seconds while the store answers. A store that does not answer ends nothing. A new ID is the
// same session. Where the request has no live session, Follow does nothing. It comes after
// Commit; what it returns is to be called when the stream has ended.
func (rs *RequestSession) Follow(s Stream) (ended func()) {
	if rs.session == nil {
		return func() {}
	}
	return rs.m.streams.follow(rs.m.shared, rs.token.handle, rs.session.record, s)
}

// Govern has open streams go by m's Settings from now on, whatever Manager they began with. A
// policy that replaces another one calls it, as its timeouts hold for live sessions at once.
func (m *Manager) Govern() { m.governing.Store(m) }

// openStreams has the open streams of a process, by session.
type openStreams struct {
	mu       sync.Mutex
	sessions map[string]*followed
	looking  bool
}

// followed is a session with open streams. openStreams.mu guards record and streams.
type followed struct {
	handle  string
	record  *record // as it was when it was last read or written here
	streams map[Stream]struct{}
	used    bool // clients have used it, which may not be written yet; for shared.lookAfterStreams alone
}

func (o *openStreams) follow(sh *shared, handle string, r *record, s Stream) (ended func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.sessions[handle]
	if f == nil {
		if o.sessions == nil {
			o.sessions = make(map[string]*followed)
		}
		f = &followed{handle: handle, record: r, streams: make(map[Stream]struct{}, 1)}
		o.sessions[handle] = f
	}
	if r.Revision > f.record.Revision {
		f.record = r
	}
	f.streams[s] = struct{}{}
	if !o.looking {
		o.looking = true
		go sh.lookAfterStreams()
	}
	return func() { o.leave(f, s) }
}

func (o *openStreams) leave(f *followed, s Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(f.streams, s)
	if len(f.streams) == 0 && o.sessions[f.handle] == f {
		delete(o.sessions, f.handle)
	}
}

// all returns the sessions, and notes which of them have been used. Where there are none, the
// looking ends.
func (o *openStreams) all() []*followed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sessions) == 0 {
		o.looking = false
		return nil
	}
	all := make([]*followed, 0, len(o.sessions))
	for _, f := range o.sessions {
		for s := range f.streams {
			f.used = s.Used() || f.used
		}
		all = append(all, f)
	}
	return all
}

func (o *openStreams) known(f *followed) *record {
	o.mu.Lock()
	defer o.mu.Unlock()
	return f.record
}

func (o *openStreams) learn(f *followed, r *record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.record = r
}

// end ends the streams of a session that has ended.
func (o *openStreams) end(f *followed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range f.streams {
		s.End()
	}
	delete(o.sessions, f.handle)
}
