package main

import "svckit/lib/fleet"

// progress is the line that a terminal redraws. Elsewhere the steps' own lines tell as much.
func (b *builder) progress(title string) (p fleet.Progress, done func()) {
	if !b.talk.Terminal() {
		return nil, func() {}
	}
	return b.talk.Progress(title)
}
