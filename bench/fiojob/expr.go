package fiojob

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxExprDepth bounds the nesting of an expression, maxExprLen its length.
const (
	maxExprDepth = 64
	maxExprLen   = 1000
)

// quantity is a value in an expression: an integer as long as everything that
// went into it was one.
type quantity struct {
	i     int64
	f     float64
	float bool
}

func (q quantity) integer() (int64, error) {
	if !q.float {
		return q.i, nil
	}
	if math.Abs(q.f) >= 1<<63 {
		return 0, errTooLarge
	}
	return int64(q.f), nil
}

func intQuantity(i int64) quantity     { return quantity{i: i, f: float64(i)} }
func floatQuantity(f float64) quantity { return quantity{f: f, float: true} }

// evalExpr computes an expression: + - * / % ^, parentheses, and suffixes, which
// bind tightest. Sizes count in bytes. Times count in microseconds; if there is
// no suffix in one at all, the whole is in unit u.
func evalExpr(s string, u unit, kbBase int) (int64, error) {
	q, suffixed, err := eval(s, u, kbBase)
	if err != nil {
		return 0, err
	}
	n, err := q.integer()
	if err != nil {
		return 0, err
	}
	if u != unitBytes && !suffixed {
		return mul(n, int64(unitDurations[u]/time.Microsecond))
	}
	return n, nil
}

func evalFloat(s string) (float64, error) {
	q, _, err := eval(s, unitBytes, 1024)
	return q.f, err
}

func eval(s string, u unit, kbBase int) (quantity, bool, error) {
	if len(s) > maxExprLen {
		return quantity{}, false, fmt.Errorf("expression longer than %d characters", maxExprLen)
	}
	p := exprParser{s: s, isTime: u != unitBytes, kbBase: kbBase}
	q, err := p.sum(0)
	if err == nil && p.peek() != 0 {
		err = fmt.Errorf("unexpected %q in expression", p.s[p.pos:])
	}
	if err == nil && (math.IsNaN(q.f) || math.IsInf(q.f, 0)) {
		err = errTooLarge
	}
	return q, p.suffixed, err
}

type exprParser struct {
	s        string
	pos      int
	isTime   bool
	kbBase   int
	suffixed bool
}

func (p *exprParser) peek() byte {
	for p.pos < len(p.s) && (p.s[p.pos] == ' ' || p.s[p.pos] == '\t') {
		p.pos++
	}
	if p.pos == len(p.s) {
		return 0
	}
	return p.s[p.pos]
}

func (p *exprParser) sum(depth int) (quantity, error) {
	a, err := p.product(depth)
	for err == nil {
		op := p.peek()
		if op != '+' && op != '-' {
			break
		}
		p.pos++
		var b quantity
		if b, err = p.product(depth); err == nil {
			a, err = apply(op, a, b)
		}
	}
	return a, err
}

func (p *exprParser) product(depth int) (quantity, error) {
	a, err := p.power(depth)
	for err == nil {
		op := p.peek()
		if op != '*' && op != '/' && op != '%' {
			break
		}
		p.pos++
		var b quantity
		if b, err = p.power(depth); err == nil {
			a, err = apply(op, a, b)
		}
	}
	return a, err
}

func (p *exprParser) power(depth int) (quantity, error) {
	if depth++; depth > maxExprDepth {
		return quantity{}, errors.New("expression nested too deeply")
	}
	if p.peek() == '-' {
		p.pos++
		a, err := p.power(depth)
		return quantity{i: -a.i, f: -a.f, float: a.float}, err
	}
	a, err := p.operand(depth)
	if err != nil || p.peek() != '^' {
		return a, err
	}
	p.pos++
	b, err := p.power(depth)
	if err != nil {
		return a, err
	}
	return apply('^', a, b)
}

// operand is a number or an expression in parentheses, and its suffix.
func (p *exprParser) operand(depth int) (quantity, error) {
	var a quantity
	var err error
	switch c := p.peek(); {
	case c == '(':
		p.pos++
		if a, err = p.sum(depth); err != nil {
			return a, err
		}
		if p.peek() != ')' {
			return a, errors.New("a closing parenthesis is missing")
		}
		p.pos++
	case isDigit(c) || c == '.':
		if a, err = p.number(); err != nil {
			return a, err
		}
	case c == 0:
		return a, errors.New("expression ends early")
	default:
		return a, fmt.Errorf("unexpected %q in expression", string(rune(c)))
	}
	return p.suffix(a)
}

func (p *exprParser) number() (quantity, error) {
	start := p.pos
	if rest := p.s[start:]; strings.HasPrefix(rest, "0x") || strings.HasPrefix(rest, "0X") {
		p.pos += 2
		for p.pos < len(p.s) && isHex(p.s[p.pos]) {
			p.pos++
		}
		i, err := strconv.ParseInt(p.s[start:p.pos], 0, 64)
		if err != nil {
			return quantity{}, fmt.Errorf("%q is not a number", p.s[start:p.pos])
		}
		return intQuantity(i), nil
	}
	float := false
	for p.pos < len(p.s) && (isDigit(p.s[p.pos]) || p.s[p.pos] == '.') {
		float = float || p.s[p.pos] == '.'
		p.pos++
	}
	word := p.s[start:p.pos]
	if float {
		f, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return quantity{}, fmt.Errorf("%q is not a number", word)
		}
		return floatQuantity(f), nil
	}
	i, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return quantity{}, errTooLarge
	}
	return intQuantity(i), nil
}

func (p *exprParser) suffix(a quantity) (quantity, error) {
	p.peek()
	start := p.pos
	for p.pos < len(p.s) && (p.s[p.pos]|0x20) >= 'a' && (p.s[p.pos]|0x20) <= 'z' {
		p.pos++
	}
	word := p.s[start:p.pos]
	if word == "" {
		return a, nil
	}
	p.suffixed = true
	if p.isTime {
		d, ok := timeUnits[strings.ToLower(word)]
		if !ok {
			return a, fmt.Errorf("unknown unit of time %q", word)
		}
		return apply('*', a, intQuantity(int64(d/time.Microsecond)))
	}
	mult, err := sizeMultiplier(word, p.kbBase)
	if err != nil {
		return a, err
	}
	return apply('*', a, intQuantity(mult))
}

func apply(op byte, a, b quantity) (quantity, error) {
	if (op == '/' || op == '%') && b.f == 0 {
		return quantity{}, errors.New("division by zero")
	}
	if a.float || b.float {
		switch op {
		case '+':
			return floatQuantity(a.f + b.f), nil
		case '-':
			return floatQuantity(a.f - b.f), nil
		case '*':
			return floatQuantity(a.f * b.f), nil
		case '/':
			return floatQuantity(a.f / b.f), nil
		case '^':
			return floatQuantity(math.Pow(a.f, b.f)), nil
		}
		return quantity{}, errors.New("remainder of a fraction")
	}
	switch op {
	case '+':
		if s := a.i + b.i; (s > a.i) == (b.i > 0) {
			return intQuantity(s), nil
		}
		return quantity{}, errTooLarge
	case '-':
		if d := a.i - b.i; (d < a.i) == (b.i > 0) {
			return intQuantity(d), nil
		}
		return quantity{}, errTooLarge
	case '*':
		m, err := mul(a.i, b.i)
		return intQuantity(m), err
	case '/':
		if a.i == math.MinInt64 && b.i == -1 {
			return quantity{}, errTooLarge
		}
		q := intQuantity(a.i / b.i)
		q.f = a.f / b.f // what a key that takes fractions sees
		return q, nil
	case '%':
		return intQuantity(a.i % b.i), nil
	}
	return intPower(a.i, b.i)
}

func intPower(a, n int64) (quantity, error) {
	if n < 0 {
		return floatQuantity(math.Pow(float64(a), float64(n))), nil
	}
	if n > 63 && a != 0 && a != 1 && a != -1 {
		return quantity{}, errTooLarge
	}
	r := int64(1)
	if a == 0 || a == 1 || a == -1 {
		n = min(n, 2-n%2) // same parity, few rounds
		if a == 0 && n > 0 {
			return intQuantity(0), nil
		}
	}
	var err error
	for range n {
		if r, err = mul(r, a); err != nil {
			return quantity{}, err
		}
	}
	return intQuantity(r), nil
}
