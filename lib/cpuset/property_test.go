package cpuset

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"svckit/lib/fault"
)

// node is a model of a node: it keeps books only by what Allocate answers.
type node struct {
	cores       []int
	granularity int
	books       []Claim
	made        int
}

func (n *node) allocate(t *rapid.T) {
	h := rapid.IntRange(0, len(n.cores)*Whole/n.granularity).Draw(t, "hundredths") * n.granularity
	r := Request{CPU: float64(h) / Whole, Binding: h > 0 && rapid.Bool().Draw(t, "binding")}
	a, err := Allocate(n.cores, n.granularity, n.books, r)
	shuffledCores := rapid.Permutation(n.cores).Draw(t, "cores")
	shuffledBooks := rapid.Permutation(n.books).Draw(t, "books")
	b, err2 := Allocate(shuffledCores, n.granularity, shuffledBooks, r)
	if !reflect.DeepEqual(a, b) || fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Fatalf("order matters: %+v %v, then %+v %v", a, err, b, err2)
	}
	if fits := n.fits(h, r.Binding); fits != (err == nil) {
		t.Fatalf("%v cores, binding %v: fits is %v, but got %v; books %+v", r.CPU, r.Binding, fits, err, n.books)
	}
	if err != nil {
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Refused {
			t.Fatalf("a request that is well formed is refused, got %v", err)
		}
		return
	}
	n.made++
	n.books = append(n.books, Claim{
		ID: fmt.Sprintf("c%03d", n.made), Bound: a.Bound, CPU: a.Quota, Cores: a.Cores, Exclusive: a.Exclusive, Running: true,
	})
	n.remap(t)
}

// fits says by counting, without choosing cores, whether a request can be met.
func (n *node) fits(h int, binding bool) bool {
	owned, load, unbound := n.count()
	whole, room := 0, false
	for _, c := range n.cores {
		switch {
		case owned[c] != "":
		case load[c] == 0:
			whole++
		case load[c]+h%Whole <= Whole:
			room = true
		}
	}
	if !binding {
		return len(owned) < len(n.cores)
	}
	need := h / Whole
	if h%Whole > 0 && !room {
		need++
	}
	leavesNone := h/Whole == len(n.cores)-len(owned)
	return whole >= need && !(leavesNone && unbound > 0)
}

func (n *node) count() (owned map[int]string, load map[int]int, unbound int) {
	owned, load = map[int]string{}, map[int]int{}
	for _, b := range n.books {
		if !b.Bound {
			unbound++
			continue
		}
		for _, c := range b.Cores[:b.Exclusive] {
			owned[c] += b.ID
		}
		for _, c := range b.Cores[b.Exclusive:] {
			load[c] += int(b.CPU*Whole+0.5) - b.Exclusive*Whole
		}
	}
	return owned, load, unbound
}

func (n *node) remap(t *rapid.T) {
	for _, change := range Remap(n.cores, n.books) {
		i := slices.IndexFunc(n.books, func(b Claim) bool { return b.ID == change.ID })
		n.books[i].Cores = change.Cores
	}
	if again := Remap(n.cores, n.books); len(again) > 0 {
		t.Fatalf("a second remap changes again: %v", again)
	}
}

func (n *node) release(t *rapid.T) {
	if len(n.books) == 0 {
		return
	}
	i := rapid.IntRange(0, len(n.books)-1).Draw(t, "which")
	n.books = slices.Delete(n.books, i, i+1)
	n.remap(t)
}

// holds checks what must be true after every step.
func (n *node) holds(t *rapid.T) {
	owned, load, _ := n.count()
	total := 0
	for _, b := range n.books {
		if !b.Bound {
			for _, c := range b.Cores {
				if owned[c] != "" {
					t.Fatalf("unbound %s may run on core %d of %s", b.ID, c, owned[c])
				}
			}
			continue
		}
		h := int(b.CPU*Whole + 0.5)
		total += h
		if b.Exclusive != h/Whole || len(b.Cores) != (h+Whole-1)/Whole {
			t.Fatalf("%s of %v cores has %v, %d alone", b.ID, b.CPU, b.Cores, b.Exclusive)
		}
		for _, c := range b.Cores[:b.Exclusive] {
			if owned[c] != b.ID || load[c] > 0 {
				t.Fatalf("core %d of %s is not its alone: owners %q, fragments %d", c, b.ID, owned[c], load[c])
			}
		}
		for _, c := range b.Cores {
			if !slices.Contains(n.cores, c) {
				t.Fatalf("%s has core %d, which the node has not", b.ID, c)
			}
		}
	}
	for c, l := range load {
		if l > Whole {
			t.Fatalf("fragments of core %d add up to %d", c, l)
		}
	}
	if total > len(n.cores)*Whole {
		t.Fatalf("bound containers have %d hundredths of %d cores", total, len(n.cores))
	}
}

func TestBooksStaySoundWhateverComesAndGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := &node{granularity: rapid.SampledFrom([]int{1, 10}).Draw(t, "granularity")}
		for c := range rapid.IntRange(1, 9).Draw(t, "cores") {
			n.cores = append(n.cores, c*2) // numbers with gaps, as on a node with cores taken off line
		}
		t.Repeat(map[string]func(*rapid.T){"allocate": n.allocate, "release": n.release, "": n.holds})
		n.books = nil
		want := Allocation{Bound: true, Cores: n.cores, Exclusive: len(n.cores), Quota: float64(len(n.cores))}
		got, err := Allocate(n.cores, n.granularity, n.books, Request{CPU: want.Quota, Binding: true})
		got.Reason = ""
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("an empty node gives %+v, %v, expected %+v", got, err, want)
		}
	})
}

func TestAnyBooksAreReadWithoutPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claim := rapid.Custom(func(t *rapid.T) Claim {
			return Claim{
				ID: rapid.StringN(0, 3, -1).Draw(t, "id"), Bound: rapid.Bool().Draw(t, "bound"), Running: rapid.Bool().Draw(t, "running"),
				CPU: rapid.Float64().Draw(t, "cpu"), Cores: rapid.SliceOfN(rapid.IntRange(-2, 6), 0, 5).Draw(t, "on"), Exclusive: rapid.IntRange(-3, 9).Draw(t, "exclusive"),
			}
		})
		books := rapid.SliceOfN(claim, 0, 6).Draw(t, "books")
		cores := []int{0, 1, 2, 3}
		a, err := Allocate(cores, 1, books, Request{CPU: rapid.Float64().Draw(t, "want"), Binding: rapid.Bool().Draw(t, "binding")})
		if err == nil {
			for _, c := range a.Cores {
				if !slices.Contains(cores, c) {
					t.Fatalf("core %d is not of the node", c)
				}
			}
		}
		for _, change := range Remap(cores, books) {
			if len(change.Cores) == 0 {
				t.Fatal("a change to no core at all")
			}
		}
	})
}
