package simulate

import "math"

// Dice is a stream of chance from a seed: splitmix64 (Steele, Lea and Flood,
// OOPSLA 2014). It stands here, and not in math/rand, because it is an argument
// of pure code, costs a nanosecond, and must give the same numbers for ever.
type Dice struct{ state uint64 }

// NewDice returns the stream of a seed and a name, so that parts of a
// simulation do not share a stream.
func NewDice(seed uint64, name string) *Dice {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	d := &Dice{state: seed*0x9e3779b97f4a7c15 ^ h}
	d.next()
	return d
}

func (d *Dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Float is uniform in (0, 1).
func (d *Dice) Float() float64 { return (float64(d.next()>>11) + 0.5) / (1 << 53) }

// Below is uniform in [0, n).
func (d *Dice) Below(n int) int { return int(d.Float() * float64(n)) }

// Exp is exponential with mean 1.
func (d *Dice) Exp() float64 { return -math.Log(d.Float()) }

// Normal is standard normal (Box and Muller; the second value is not kept, so that streams stay simple).
func (d *Dice) Normal() float64 {
	return math.Sqrt(-2*math.Log(d.Float())) * math.Cos(2*math.Pi*d.Float())
}
