package follow

import (
	"time"

	"svckit/lib/fault"
)

// tellEach bounds how often a refusal is logged: a token that is withdrawn
// concerns every subject at once.
const tellEach = 10 * time.Second

// refuses tells an answer of Consul that is no, as to a token without rights, from no answer.
func refuses(err error) bool {
	switch fault.KindOf(err) {
	case fault.OK, fault.Unreachable, fault.Timeout:
		return false
	}
	return true
}

// refuse notes that Consul will not tell of e. It is called with e.mu held.
func (k *Keeper) refuse(e *entry, err error) {
	first := e.refused.IsZero()
	e.refused, e.problem = k.now(), err.Error()
	if !first {
		return
	}
	k.counts.refused.Add(1)
	now, last := k.now().UnixNano(), k.told.Load()
	if last != 0 && now-last < int64(tellEach) || !k.told.CompareAndSwap(last, now) {
		return
	}
	what := "consul refuses to tell, and nothing is known yet: such names are answered SERVFAIL"
	if e.known {
		what = "consul refuses to tell: the last good answers stay in force"
	}
	k.log.Error(what, "what", e.subject.String(), "error", err, "hint", fault.HintOf(err), "for", k.settings.MaxAge)
}

// allow notes that Consul tells of e, or that nobody wants to know any more. It is called with e.mu held.
func (k *Keeper) allow(e *entry) {
	e.problem = ""
	if e.refused.IsZero() {
		return
	}
	e.refused = time.Time{}
	if k.counts.refused.Add(-1) == 0 {
		k.told.Store(0)
		k.log.Info("consul tells all that is asked for again")
	}
}

// hopeless reports whether a question about e need not wait for Consul. It is called with e.mu held.
func (k *Keeper) hopeless(e *entry) bool {
	return e.known && e.stale() && (k.lost.Load() != 0 || !e.refused.IsZero())
}
