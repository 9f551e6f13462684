package opts

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseBool parses on, yes, true and y, and off, no, false and n, as QEMU does.
func ParseBool(s string) (bool, error) {
	switch s {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, &Error{Value: s, Pos: -1, Msg: emptyValue(s), Want: "on or off", Kind: ErrValue}
}

// emptyValue says so where a message would otherwise show nothing.
func emptyValue(s string) string {
	if s == "" {
		return "empty value"
	}
	return ""
}

const (
	durationExamples = " such as 500us, 10s or 1h30m"
	durationWant     = "a duration" + durationExamples
)

// ParseDuration parses Go's spelling of a duration ("1h30m", "500us") and days
// ("2d"); a number alone counts in unit. Negative durations are refused.
func ParseDuration(s string, unit time.Duration) (time.Duration, error) {
	refused := &Error{Value: s, Pos: -1, Msg: emptyValue(s), Want: durationWant, Kind: ErrValue}
	if s == "" || len(s) > maxNumber || s[0] == '-' || s[0] == '+' {
		return 0, refused
	}
	number := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		number, unit = days, 24*time.Hour
	}
	if strings.Trim(number, "0123456789.") != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, refused
		}
		return d, nil
	}
	// Whole units are exact, a fraction is so to float64.
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n <= math.MaxInt64/int64(unit) {
		return time.Duration(n) * unit, nil
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || x*float64(unit) >= math.MaxInt64 {
		return 0, refused
	}
	return time.Duration(x * float64(unit)), nil
}

// OptBool is an on|off option that knows whether it was given.
type OptBool struct {
	Given bool
	On    bool
}

// Or returns the option's value, def where it was not given.
func (o OptBool) Or(def bool) bool {
	if o.Given {
		return o.On
	}
	return def
}

// Tristate is an on|off|auto option; the zero value is auto.
type Tristate uint8

// The three states.
const (
	Auto Tristate = iota
	On
	Off
)

// String returns the option's spelling.
func (t Tristate) String() string { return [...]string{"auto", "on", "off"}[t] }

// Or decides auto.
func (t Tristate) Or(def bool) bool {
	if t == Auto {
		return def
	}
	return t == On
}

// ParseTristate parses auto and what [ParseBool] takes.
func ParseTristate(s string) (Tristate, error) {
	if s == "auto" {
		return Auto, nil
	}
	on, err := ParseBool(s)
	if err != nil {
		return Auto, &Error{Value: s, Pos: -1, Msg: emptyValue(s), Want: "on, off or auto", Kind: ErrValue}
	}
	if on {
		return On, nil
	}
	return Off, nil
}
