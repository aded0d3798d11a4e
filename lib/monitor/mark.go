package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// markSize is the length of a mark file in bytes. docs/marks.md has the format.
const markSize = 76

const markMagic = "SVCMARK1"

// mark is what one worker process tells of its requests. Moments are seconds of
// the kernel's monotonic clock.
type mark struct {
	Start   uint64 // of the process, in the kernel's clock ticks
	Active  uint32 // requests that it works on now
	Slots   uint32 // that it can work on at a time
	Begun   uint64 // since its start
	Done    uint64 //
	Oldest  float64
	Begins  float64 // when the active ones began, summed
	Seconds float64 // of completed requests, summed
	Squares float64 //
}

var (
	errTorn  = errors.New("torn: its checksum does not fit")
	errShape = errors.New("no mark: expected 76 bytes that begin with SVCMARK1")
)

// Bounds of what one process can have done.
const (
	mostActive = 100_000
	mostCount  = 1 << 50
	mostTime   = 1e13 // seconds, also squared
)

// decodeMark reads a mark. A mark that was caught while it was written is errTorn.
func decodeMark(text []byte) (mark, error) {
	if len(text) != markSize || string(text[:8]) != markMagic {
		return mark{}, errShape
	}
	body := text[:markSize-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(text[markSize-4:]) {
		return mark{}, errTorn
	}
	u, f := binary.LittleEndian.Uint64, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
	m := mark{
		Start: u(body[8:]), Active: binary.LittleEndian.Uint32(body[16:]), Slots: binary.LittleEndian.Uint32(body[20:]),
		Begun: u(body[24:]), Done: u(body[32:]), Oldest: f(body[40:]), Begins: f(body[48:]), Seconds: f(body[56:]), Squares: f(body[64:]),
	}
	return m, m.check()
}

// check refuses what no process can have done.
func (m mark) check() error {
	for _, v := range []float64{m.Oldest, m.Begins, m.Seconds, m.Squares} {
		if !(v >= 0 && v <= mostTime) {
			return fmt.Errorf("absurd: a time of %g s", v)
		}
	}
	switch {
	case m.Begun > mostCount || m.Done > m.Begun:
		return fmt.Errorf("absurd: %d begun, %d done", m.Begun, m.Done)
	case m.Active > mostActive || m.Begun-m.Done != uint64(m.Active):
		return fmt.Errorf("absurd: %d begun, %d done, %d active", m.Begun, m.Done, m.Active)
	case m.Slots == 0 || m.Slots > mostActive:
		return fmt.Errorf("absurd: %d slots", m.Slots)
	}
	return nil
}

// elapsed is how long the active requests have taken until now, summed. A clock
// that is not ours (a mark from another time namespace) gives 0.
func (m mark) elapsed(now float64) float64 {
	e := float64(m.Active)*now - m.Begins
	if m.Active == 0 || m.Oldest > now || e < 0 {
		return 0
	}
	return e
}
