package monitor

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"svckit/lib/proc"
)

// encode writes a mark as a worker does.
func (m mark) encode() []byte {
	out := []byte(markMagic)
	le := binary.LittleEndian
	out = le.AppendUint64(out, m.Start)
	out = le.AppendUint32(out, m.Active)
	out = le.AppendUint32(out, m.Slots)
	out = le.AppendUint64(out, m.Begun)
	out = le.AppendUint64(out, m.Done)
	for _, f := range []float64{m.Oldest, m.Begins, m.Seconds, m.Squares} {
		out = le.AppendUint64(out, math.Float64bits(f))
	}
	return le.AppendUint32(out, crc32.ChecksumIEEE(out))
}

func TestAMarkOfTheHookIsRead(t *testing.T) {
	// Written by examples/marks/svckit_marks.py: four threads, one request of a
	// quarter of a second at work, another one done.
	text, err := hex.DecodeString("5356434d41524b31f6fa1300000000000100000004000000020000000000000001000000000000003b23aa6d2394c9403b23aa6d2394c9400000" +
		"00c8d313123fc434ee13b56c343e782e5452")
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMark(text)
	if err != nil {
		t.Fatal(err)
	}
	if m.Start != 1309430 || m.Active != 1 || m.Slots != 4 || m.Begun != 2 || m.Done != 1 || m.Oldest != m.Begins || m.Seconds < 1e-5 || m.Seconds > 1e-3 {
		t.Errorf("%+v", m)
	}
	if got := m.elapsed(m.Oldest + 0.25); got < 0.2499 || got > 0.2501 {
		t.Errorf("a quarter of a second is %g s", got)
	}
	if got := m.encode(); !slices.Equal(got, text) {
		t.Errorf("written again it is %x", got)
	}
}

func TestMarksThatNoWorkerCanHaveWrittenAreRefused(t *testing.T) {
	good := mark{Start: 1, Active: 1, Slots: 1, Begun: 3, Done: 2, Oldest: 5, Begins: 5, Seconds: 1, Squares: 1}
	if _, err := decodeMark(good.encode()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*mark){
		"not a number":             func(m *mark) { m.Seconds = math.NaN() },
		"endless":                  func(m *mark) { m.Squares = math.Inf(1) },
		"negative":                 func(m *mark) { m.Oldest = -1 },
		"more done than begun":     func(m *mark) { m.Done = 9 },
		"active that never began":  func(m *mark) { m.Active = 2 },
		"more than one process do": func(m *mark) { m.Active, m.Begun = 1<<30, 1<<30+2 },
		"no slots":                 func(m *mark) { m.Slots = 0 },
		"wild counters":            func(m *mark) { m.Begun, m.Done = 1<<60+1, 1<<60 },
	} {
		bad := good
		change(&bad)
		if _, err := decodeMark(bad.encode()); err == nil || !strings.HasPrefix(err.Error(), "absurd") {
			t.Errorf("%s: %v", name, err)
		}
	}
	torn := good.encode()
	torn[30]++
	if _, err := decodeMark(torn); !errors.Is(err, errTorn) {
		t.Errorf("torn: %v", err)
	}
	for _, text := range []string{"", "SVCMARK1", string(good.encode()) + "x", strings.Repeat("x", markSize)} {
		if _, err := decodeMark([]byte(text)); !errors.Is(err, errShape) {
			t.Errorf("%q: %v", text, err)
		}
	}
	early := mark{Active: 1, Oldest: 10, Begins: 10}
	if got := early.elapsed(9); got != 0 {
		t.Errorf("a request that begins later has taken %g s", got)
	}
}

func FuzzMark(f *testing.F) {
	f.Add(mark{Start: 1, Active: 1, Slots: 1, Begun: 3, Done: 2, Oldest: 5, Begins: 5, Seconds: 1, Squares: 1}.encode(), 7.0)
	f.Fuzz(func(t *testing.T, text []byte, now float64) {
		if len(text) == markSize { // else the checksum hides the rest from the fuzzer
			binary.LittleEndian.PutUint32(text[markSize-4:], crc32.ChecksumIEEE(text[:markSize-4]))
		}
		m, err := decodeMark(text)
		if err == nil && (m.Done > m.Begun || !(m.Seconds >= 0) || now < 1e9 && !(m.elapsed(now) >= 0)) {
			t.Errorf("%+v was accepted", m)
		}
	})
}

// markPlace is this node as a place, with a folder of marks of the test's own.
func markPlace(t *testing.T) (place, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "svckit-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p, err := openPlace(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	p.dir = strings.TrimPrefix(dir, "/")
	return p, dir
}

// write puts a mark into a folder, as the process pid.
func write(t *testing.T, dir string, pid int, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(pid)), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func own(t *testing.T) uint64 {
	t.Helper()
	start, err := proc.Start(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return start
}

func TestMarksOfProcessesThatAreGoneAreSwept(t *testing.T) {
	p, dir := markPlace(t)
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	start := own(t)
	busy := mark{Start: start, Active: 1, Slots: 1, Begun: 1, Oldest: 1, Begins: 1}
	write(t, dir, os.Getpid(), busy.encode())
	write(t, dir, ended.Process.Pid, busy.encode())
	write(t, dir, 1, mark{Start: 1 << 40, Slots: 1}.encode())                      // pid 1 lives, but is another one
	write(t, dir, 1<<22+5, []byte("not even a mark"))                              // beyond every pid
	write(t, dir, os.Getppid(), mark{Start: 5, Slots: 1, Active: 0}.encode())      // known below, by another start
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil { // not ours
		t.Fatal(err)
	}
	got, err := p.marks(map[int]uint64{os.Getppid(): 6})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.marks) != 1 || got.marks[0].pid != os.Getpid() || got.swept != 4 || len(got.problems) != 0 || !got.there {
		t.Errorf("%+v", got)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestAMarkThatCannotBeReadIsToldAndStays(t *testing.T) {
	p, dir := markPlace(t)
	torn := mark{Start: own(t), Slots: 1}.encode()
	torn[20]++
	write(t, dir, os.Getpid(), torn)
	got, err := p.marks(nil)
	if err != nil || len(got.marks) != 0 || len(got.problems) != 1 || !strings.Contains(got.problems[0], "torn") || got.swept != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNothingButFilesIsReadAsAMark(t *testing.T) {
	p, dir := markPlace(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, mark{Start: own(t), Slots: 1}.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	for kind, place := range map[string]func() error{
		"a link":   func() error { return os.Symlink(secret, name) },
		"a folder": func() error { return os.Mkdir(name, 0o700) },
		"a pipe":   func() error { return unix.Mkfifo(name, 0o600) },
	} {
		if err := place(); err != nil {
			t.Fatal(err)
		}
		got, err := p.marks(nil)
		if err != nil || len(got.marks) != 0 || len(got.problems) != 1 {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFolderOfMarksIsBounded(t *testing.T) {
	p, dir := markPlace(t)
	for k := range mostMarks + 1 {
		write(t, dir, k+1, nil)
	}
	if got, err := p.marks(nil); err == nil || !strings.Contains(err.Error(), "more than 4096") {
		t.Errorf("%d marks, %v", len(got.marks), err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := p.marks(nil); err != nil || got.there {
		t.Errorf("no folder: %+v, %v", got, err)
	}
	if err := os.Symlink(t.TempDir(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := p.marks(nil); err == nil {
		t.Error("a link in the place of the folder was followed")
	}
	p.dir = strings.TrimPrefix(mustEval(t, t.TempDir()), "/")
	var at unix.Statfs_t
	if err := unix.Statfs("/"+p.dir, &at); err != nil {
		t.Fatal(err)
	}
	if _, err := p.marks(nil); (err == nil) != (at.Type == unix.TMPFS_MAGIC) {
		t.Errorf("a folder on a file system of type %x: %v", at.Type, err)
	}
}

func mustEval(t *testing.T, name string) string {
	t.Helper()
	out, err := filepath.EvalSymlinks(name)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
