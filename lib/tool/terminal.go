package tool

// Terminal reports whether talk goes to a person's terminal, where a progress line is
// redrawn and what is only of passing interest need not become a line of its own.
func (s *Session) Terminal() bool { return s.screen != nil && s.screen.terminal && !s.screen.json }
