package strictyaml

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	durationSyntax = regexp.MustCompile(`^([0-9]{1,9}(\.[0-9]{1,3})?(h|m|s|ms))+$`)
	sizeSyntax     = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,6})?$`)
	looseSize      = regexp.MustCompile(`^([0-9.]{1,20}) ?([kKmMgGtT])[iI]?[bB]?$`)
	percentSyntax  = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,2})?$`)
)

// ParseDuration reads a duration of whole milliseconds with units h, m, s, ms:
// 1h30m, 1.5s. There are no negative ones, and no bare 0.
func ParseDuration(s string) (time.Duration, error) {
	if !durationSyntax.MatchString(s) || len(s) > 40 {
		return 0, errors.New("expected a duration with a unit such as 5s")
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Millisecond != 0 {
		return 0, errors.New("expected a duration of whole milliseconds, such as 5s")
	}
	return d, nil
}

// FormatDuration is the short form that ParseDuration reads: 2m, not 2m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// sizeUnits from the largest binary one down, then the decimal ones. Formatting uses the binary ones only.
func sizeUnits() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
		{"B", 1},
	}
}

// ParseSize reads a whole number of bytes with its unit: 512MiB, 1.5GiB, 100MB, 4096B.
func ParseSize(s string) (int64, error) {
	for _, u := range sizeUnits() {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		if !sizeSyntax.MatchString(digits) {
			break
		}
		r, _ := new(big.Rat).SetString(digits)
		r.Mul(r, new(big.Rat).SetInt64(u.bytes))
		if !r.IsInt() || !r.Num().IsInt64() {
			return 0, fmt.Errorf("%s is not a whole number of bytes", s)
		}
		return r.Num().Int64(), nil
	}
	return 0, errors.New("expected a size with a unit such as 512MiB")
}

// nearSize is what a size in another notation most likely means: 512m, 512M and 512mb are 512MiB.
func nearSize(s string) (string, bool) {
	m := looseSize.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	near := m[1] + strings.ToUpper(m[2]) + "iB"
	_, err := ParseSize(near)
	return near, err == nil
}

// FormatSize is the shortest exact form in binary units.
func FormatSize(n int64) string {
	for _, u := range sizeUnits()[:4] {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// ParsePercent reads a percentage with at most two decimals as a fraction: 2.5% is 0.025.
func ParsePercent(s string) (float64, error) {
	digits, ok := strings.CutSuffix(s, "%")
	if !ok || !percentSyntax.MatchString(digits) {
		return 0, errors.New("expected a percentage such as 10%")
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, fmt.Errorf("read percentage: %w", err)
	}
	return math.Round(f*100) / 1e4, nil
}

// FormatPercent is the inverse of ParsePercent for fractions of whole hundredths of a percent.
func FormatPercent(f float64) string {
	return strconv.FormatFloat(math.Round(f*1e4)/100, 'f', -1, 64) + "%"
}
