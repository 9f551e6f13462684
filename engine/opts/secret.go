package opts

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Secret holds a password or key. It prints as "***" by every verb of fmt and in
// JSON; only [Secret.Bytes] shows it. As a field of an option struct it is
// filled by Bind. The zero Secret is empty.
type Secret struct{ p *content }

// content keeps the bytes two pointers away: where fmt reaches a Secret through
// an unexported field it calls no methods, but follows at most one.
type content struct{ b *[]byte }

// NewSecret returns a secret that owns b.
func NewSecret(b []byte) Secret { return Secret{&content{&b}} }

// Bytes returns the content, not a copy.
func (s Secret) Bytes() []byte {
	if s.p == nil {
		return nil
	}
	return *s.p.b
}

// String returns "***".
func (Secret) String() string { return hidden }

// Format prints "***" whatever the verb is.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText returns "***", for JSON and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalText takes the content.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(slices.Clone(text))
	return nil
}

// Wipe overwrites the content.
func (s Secret) Wipe() { clear(s.Bytes()) }

// SecretRef is the id of a secret object, as password-secret=ID gives it.
type SecretRef string

// secretOptions are the properties of --object secret.
type secretOptions struct {
	Data   Secret `opt:"data" help:"the secret itself; seen by everybody who sees the command line"`
	File   string `opt:"file" help:"a file that holds it, read byte for byte"`
	Format string `opt:"format" enum:"raw,base64" default:"raw" help:"how data or the file is encoded"`
	KeyID  string `opt:"keyid" help:"id of the secret that encrypts this one, 32 bytes for AES-256-CBC"`
	IV     string `opt:"iv" help:"its initialisation vector in base64, 16 bytes"`
}

// check refuses combinations that mean nothing.
func (o *secretOptions) check(id string) error {
	fail := func(key, msg string, kind error) error {
		return &Error{Pos: -1, Msg: "secret " + id + ": " + key + " " + msg, Kind: kind}
	}
	given := o.Data.p != nil
	switch {
	case given && o.File != "":
		return fail("file", "excludes data", ErrConflict)
	case !given && o.File == "":
		return fail("data or file", "is missing", ErrMissing)
	case o.KeyID != "" && o.IV == "":
		return fail("iv", "is missing beside keyid", ErrMissing)
	case o.KeyID == "" && o.IV != "":
		return fail("keyid", "is missing beside iv", ErrMissing)
	}
	return nil
}

// maxSecretChain bounds secrets that are encrypted with secrets.
const maxSecretChain = 4

// Secret resolves a reference. readFile reads the file of a secret that has one;
// where it is nil, such a secret is refused. Errors never show content.
func (o *Objects) Secret(ref SecretRef, readFile func(path string) ([]byte, error)) (Secret, error) {
	return o.secret(string(ref), readFile, 0)
}

func (o *Objects) secret(id string, readFile func(string) ([]byte, error), chain int) (Secret, error) {
	fail := func(format string, args ...any) (Secret, error) {
		return Secret{}, &Error{Pos: -1, Msg: "secret " + id + ": " + fmt.Sprintf(format, args...), Kind: ErrValue}
	}
	obj, ok := o.Get(id)
	switch {
	case !ok:
		return Secret{}, &Error{Pos: -1, Msg: "secret " + id + ": no such object" + suggest(id, o.IDs("secret")), Kind: ErrMissing}
	case obj.secret == nil:
		return fail("is a %s object", obj.Type)
	case chain == maxSecretChain:
		return fail("is encrypted by too many others")
	}
	s := obj.secret
	b := slices.Clone(s.Data.Bytes())
	if s.File != "" {
		if readFile == nil {
			return fail("files are not read here")
		}
		var err error
		if b, err = readFile(s.File); err != nil {
			return Secret{}, fmt.Errorf("secret %s: %w", id, err)
		}
	}
	if s.Format == "base64" {
		var err error
		if b, err = decode64(b); err != nil {
			return fail("not base64")
		}
	}
	if s.KeyID != "" {
		key, err := o.secret(s.KeyID, readFile, chain+1)
		if err != nil {
			return Secret{}, err
		}
		if b, err = decrypt(key.Bytes(), s.IV, b); err != nil {
			return fail("%s", err)
		}
	}
	if s.Format == "raw" && s.File == "" && !utf8.Valid(b) {
		return fail("not UTF-8: binary data needs format=base64")
	}
	return NewSecret(b), nil
}

// decode64 decodes standard base64 that may be broken into lines.
func decode64(b []byte) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(b)), ""))
}

// decrypt undoes AES-256-CBC with PKCS #7 padding (RFC 5652 §6.3).
func decrypt(key []byte, iv string, content []byte) ([]byte, error) {
	vector, err := decode64([]byte(iv))
	switch {
	case err != nil || len(vector) != aes.BlockSize:
		return nil, errors.New("iv is not 16 bytes of base64")
	case len(key) != 32:
		return nil, errors.New("its key is not 32 bytes")
	case len(content) == 0 || len(content)%aes.BlockSize != 0:
		return nil, errors.New("encrypted content is not a multiple of 16 bytes")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(content))
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(plain, content)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, errors.New("does not decrypt")
	}
	for _, b := range plain[len(plain)-pad:] {
		if int(b) != pad {
			return nil, errors.New("does not decrypt")
		}
	}
	return plain[:len(plain)-pad], nil
}
