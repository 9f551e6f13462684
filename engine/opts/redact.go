package opts

import (
	"slices"
	"strings"
)

// hidden stands in messages and reports for a secret.
const hidden = "***"

// secretKeys hold secrets in the clear, wherever they occur. A key that ends
// in "-secret" holds the id of one instead and may be shown.
var (
	secretKeys     = []string{"password", "passwd", "pass", "passphrase", "secret", "token", "cookie", "psk", "data"}
	secretSuffixes = []string{"-password", "-passwd", "-passphrase", "-token", "-cookie"}
	// secretParams are parts of names that the query parameters of signed URLs have.
	secretParams = []string{"pass", "token", "sig", "secret", "credential", "auth"}
)

// isSecretKey reports whether path or a key that it goes through is one of them.
func isSecretKey(path string) bool {
	for key := range strings.SplitSeq(fold(path), ".") {
		if slices.Contains(secretKeys, key) ||
			slices.ContainsFunc(secretSuffixes, func(s string) bool { return strings.HasSuffix(key, s) }) {
			return true
		}
	}
	return false
}

// RedactName returns a name or an option string as a message may show it:
// passwords of URIs, secret keys of k=v and json: spellings become "***".
func RedactName(s string) string {
	if rest, ok := strings.CutPrefix(s, "json:"); ok {
		t, err := ParseJSON([]byte(rest))
		if err != nil {
			return "json:" + hidden
		}
		return t.Redacted()
	}
	return redactText(s)
}

// redactText is RedactName without a look into json:.
func redactText(s string) string {
	if strings.HasPrefix(s, "json:") {
		return "json:" + hidden
	}
	if eq := strings.IndexByte(s, '='); eq > 0 && !strings.ContainsAny(s[:eq], ":/") {
		return redactItems(s)
	}
	return redactURI(s)
}

// redactItems hides the values of secret keys in "k=v,…", item by item.
func redactItems(s string) string {
	var b strings.Builder
	for first := true; ; first = false {
		_, n := scanValue(s)
		item := s[:n]
		if !first {
			b.WriteByte(',')
		}
		key, value, ok := strings.Cut(item, "=")
		switch {
		case !ok:
			b.WriteString(redactURI(item))
		case isSecretKey(key):
			b.WriteString(key + "=" + hidden)
		case strings.HasPrefix(value, "json:"):
			b.WriteString(key + "=json:" + hidden)
		default:
			b.WriteString(key + "=" + redactURI(value))
		}
		if n >= len(s) {
			return b.String()
		}
		s = s[n+1:]
	}
}

// redactURI hides the password of a URI's authority and the query parameters
// that carry signatures. Text that is no URI comes back as it is.
func redactURI(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, "/ ") {
		return s
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	sep := ":"
	if scheme == "iscsi" || scheme == "iser" {
		// USER%PASSWORD goes up to the '@', whatever is in it.
		sep = "%:"
		if i := strings.IndexByte(rest, '@'); i >= len(authority) {
			authority, tail = rest, ""
		}
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if i := strings.IndexAny(authority[:at], sep); i >= 0 {
			authority = authority[:i+1] + hidden + authority[at:]
		}
	}
	return scheme + "://" + authority + redactQuery(tail)
}

func redactQuery(tail string) string {
	q := strings.IndexByte(tail, '?')
	if q < 0 {
		return tail
	}
	query, fragment := tail[q+1:], ""
	if i := strings.IndexByte(query, '#'); i >= 0 {
		query, fragment = query[:i], query[i:]
	}
	params := strings.Split(query, "&")
	for i, p := range params {
		name, _, ok := strings.Cut(p, "=")
		secret := func(part string) bool { return strings.Contains(strings.ToLower(name), part) }
		if ok && slices.ContainsFunc(secretParams, secret) {
			params[i] = name + "=" + hidden
		}
	}
	return tail[:q+1] + strings.Join(params, "&") + fragment
}
