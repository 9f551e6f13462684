package opts

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const password = "s3cret-pw"

// shows fails where any way to print v shows the password.
func shows(t *testing.T, what string, v any) {
	t.Helper()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	b, err := json.Marshal(v)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	bytes := fmt.Sprint([]byte(password)) //nolint:staticcheck // the form that fmt gives bytes
	for _, s := range []string{
		fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v), string(b), log.String(),
		fmt.Sprintf("%+v", []any{&v}), fmt.Sprintf("%v", struct{ V any }{v}),
	} {
		if strings.Contains(s, password) || strings.Contains(s, bytes) || strings.Contains(s, fmt.Sprintf("%x", password)) {
			t.Errorf("%s prints as %s", what, s)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	shows(t, "Secret", NewSecret([]byte(password)))
	shows(t, "field", struct{ s Secret }{NewSecret([]byte(password))})
	shows(t, "fields", struct{ s any }{struct{ s Secret }{NewSecret([]byte(password))}})
	shows(t, "pointer", &struct{ S Secret }{NewSecret([]byte(password))})
	for _, s := range []string{
		"iscsi://user%" + password + "@h/iqn.x/1",
		"iscsi://user:" + password + "@h/iqn.x/1",
		"https://user:" + password + "@h/path",
		"https://h/path?X-Amz-Signature=" + password,
		"driver=iscsi,password=" + password,
		"driver=qcow2,file.driver=iscsi,file.password=" + password,
		"driver=https,cookie=" + password,
		"driver=raw,x.0.chap_password=" + password,
		"driver=x,password.0=" + password + ",password.1=y",
		"driver=x,password.deep.er=" + password,
		"driver=x,url=https://u:" + password + "@h",
		`json:{"password":"` + password + `"}`,
		`json:{"backing":{"filename":"json:{\"password\":\"` + password + `\"}"}}`,
		`json:{"filename":"driver=x,password=` + password + `"}`,
	} {
		tree, err := ParseTarget(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		shows(t, s, tree)
		for _, key := range tree.Keys() {
			v, _ := tree.Get(key)
			shows(t, s+" "+key, v)
		}
		if got := tree.Redacted(); strings.Contains(got, password) || !strings.Contains(got, hidden) {
			t.Errorf("%s: %s", s, got)
		}
		if !strings.Contains(tree.Canonical(), password) {
			t.Errorf("%s: %s lost it", s, tree.Canonical())
		}
		if got := RedactName(s); strings.Contains(got, password) {
			t.Errorf("RedactName: %s", got)
		}
	}
	obj, err := ParseObject("secret,id=s0,data=" + password)
	if err != nil {
		t.Fatal(err)
	}
	shows(t, "Object", obj)
	shows(t, "Object field", struct{ o Object }{obj})
	var set Objects
	if err := set.Put(obj); err != nil {
		t.Fatal(err)
	}
	shows(t, "Objects", set)
	shows(t, "*Objects", &set)
}

// TestErrorsDoNotShowSecrets: texts that are wrong in some way and hold a password.
func TestErrorsDoNotShowSecrets(t *testing.T) {
	for _, s := range []string{
		"password=a," + password,
		"password=a,sp " + password + "=b",
		"password=" + password + ",password=x",
		"iscsi://u%" + password + "@h/t/1",
		"driver=iscsi,password=" + password + ",password.x=1",
	} {
		_, err := ParseImageOpts(s)
		if err == nil {
			t.Errorf("%s: accepted", s)
			continue
		}
		if strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"iscsi://u%" + password + "@h/t",
		"iscsi://u%" + password + "@h:99999/t/1",
		"iscsi://u%" + password + "@h/t/1?x=y",
		"https://u:" + password + "@",
		"ssh://u:" + password + "@h/p",
		"ssh://u:" + password + "/x@h/p",
		"nbd://u:" + password + "@h/p",
		"nope://u:" + password + "@h/p",
		`json:{"password":"` + password,
		`json:{"password":"` + password + `"} x`,
		`json:{"password":"` + password + `","password":"x"}`,
	} {
		_, err := ParseName(s)
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestRedactName(t *testing.T) {
	for s, want := range map[string]string{
		"/plain/path":                              "/plain/path",
		"a=b.img":                                  "a=b.img",
		"iscsi://u%p@h/t/1":                        "iscsi://u%***@h/t/1",
		"iscsi://u%p/q@h/t/1":                      "iscsi://u%***@h/t/1",
		"iscsi://u@h/t/1":                          "iscsi://u@h/t/1",
		"https://u:p@h/x@y":                        "https://u:***@h/x@y",
		"https://h:80/x@y":                         "https://h:80/x@y",
		"https://h/x?a=1&token=t&b=2#f":            "https://h/x?a=1&token=***&b=2#f",
		"driver=x,password=a,,b,user=u":            "driver=x,password=***,user=u",
		"driver=x,file.password=p":                 "driver=x,file.password=***",
		"driver=x,password-secret=s0":              "driver=x,password-secret=s0",
		"file=iscsi://u%p@h/t/1,file.timeout=3":    "file=iscsi://u%***@h/t/1,file.timeout=3",
		`json:{"password":"p"}`:                    `json:{"password":"***"}`,
		"json:{":                                   "json:***",
		`file=json:{"password":"p"}`:               "file=json:***",
		"secret,id=s0,data=x":                      "secret,id=s0,data=***",
		"ssh://[::1]:22/p":                         "ssh://[::1]:22/p",
		"nvme://0000:06:0d.0/1":                    "nvme://0000:06:0d.0/1",
		"sheepdog+unix:///i?socket=/tmp/s#passage": "sheepdog+unix:///i?socket=/tmp/s#passage",
	} {
		if got := RedactName(s); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

func TestSecretResolve(t *testing.T) {
	files := map[string]string{"/key": "binary\xff\n", "/key64": "YmluYXJ5\n/w==\n"}
	read := func(path string) ([]byte, error) {
		if s, ok := files[path]; ok {
			return []byte(s), nil
		}
		return nil, errors.New("no such file")
	}
	var set Objects
	for _, s := range []string{
		"secret,id=plain,data=pw",
		"secret,id=empty,data=",
		"secret,id=b64,data=YmluYXJ5/w==,format=base64",
		"secret,id=file,file=/key",
		"secret,id=file64,file=/key64,format=base64",
		"secret,id=gone,file=/gone",
		"secret,id=bad64,data=%%%,format=base64",
		"secret,id=master,data=0123456789abcdef0123456789abcdef",
		"secret,id=enc,data=@ENC@,format=base64,keyid=master,iv=AAECAwQFBgcICQoLDA0ODw==",
		"secret,id=wrongkey,data=@ENC@,format=base64,keyid=plain,iv=AAECAwQFBgcICQoLDA0ODw==",
		"secret,id=shortiv,data=@ENC@,format=base64,keyid=master,iv=AAEC",
		"secret,id=garbled,data=AAECAwQFBgcICQoLDA0ODw==,format=base64,keyid=master,iv=AAECAwQFBgcICQoLDA0ODw==",
		"secret,id=ring,data=@ENC@,format=base64,keyid=ring,iv=AAECAwQFBgcICQoLDA0ODw==",
		"throttle-group,id=tg0",
	} {
		if err := set.Add(strings.ReplaceAll(s, "@ENC@", encrypted)); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	for id, want := range map[SecretRef]string{
		"plain": "pw", "empty": "", "b64": "binary\xff", "file": "binary\xff\n", "file64": "binary\xff", "enc": "sekrit",
	} {
		s, err := set.Secret(id, read)
		if err != nil || string(s.Bytes()) != want {
			t.Errorf("%s: %q, %v, want %q", id, s.Bytes(), err, want)
		}
	}
	for id, want := range map[SecretRef]string{
		"gone":     "secret gone: no such file",
		"bad64":    "secret bad64: not base64",
		"wrongkey": "secret wrongkey: its key is not 32 bytes",
		"shortiv":  "secret shortiv: iv is not 16 bytes of base64",
		"garbled":  "secret garbled: does not decrypt",
		"ring":     "secret ring: is encrypted by too many others",
		"plian":    "secret plian: no such object (nearest: plain)",
		"tg0":      "secret tg0: is a throttle-group object",
	} {
		if _, err := set.Secret(id, read); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
	if _, err := set.Secret("file", nil); err == nil || err.Error() != "secret file: files are not read here" {
		t.Error(err)
	}
	var none *Objects
	if _, err := none.Secret("x", nil); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	if err := set.Add("throttle-group,id=plain"); !errors.Is(err, ErrConflict) {
		t.Errorf("id twice: %v", err)
	}
}

func TestParseObjectRefused(t *testing.T) {
	for s, want := range map[string]string{
		"":                              "qom-type: is missing",
		"secret":                        "id: is missing",
		"secret,id=0x":                  "id: value 0x",
		"secret,id=a":                   "data or file is missing",
		"secret,id=a,data=x,keyid=k":    "iv is missing beside keyid",
		"secret,id=a,data=x,iv=k":       "keyid is missing beside iv",
		"secret,id=a,data=x,format=hex": "format: value hex: want raw or base64",
		`{"qom-type":"secret","id":"a","x":1,"data":"d"}`: "x: unknown option",
		"secret,id=a,data=" + password + ",":              "",
	} {
		_, err := ParseObject(s)
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", s, err, want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	got, err := ParseConfig([]byte("# c\r\n\r\n[iscsi]\n\tuser = \"u\"\r\n[drive \"d0\"]\nfile.driver=\"nbd\"\nfile.x.0=\"a=b, c\"\n[empty]"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Group != "iscsi" || got[1].ID != "d0" || got[1].Line != 5 || got[2].Tree.Len() != 0 {
		t.Fatalf("%+v", got)
	}
	if s := got[1].Tree.Canonical(); s != `json:{"file":{"driver":"nbd","x":["a=b, c"]}}` {
		t.Error(s)
	}
	for s, want := range map[string]string{
		"a = \"b\"":             "before the first",
		"[a":                    "want [group]",
		"[a b]":                 "want [group]",
		"[a \"b]":               "want [group]",
		"[a]\nb = c":            `b: want key = "value"`,
		"[a]\nb":                `b: want key = "value"`,
		"[a]\nb=\"1\"\nb=\"2\"": "b: given twice",
		"[a]\nb.1=\"1\"":        "b.1: list indices leave a gap: want b.0 as well",
		"[a]\nb c=\"1\"":        "not a key",
		"[a]\n\x00":             "zero byte",
	} {
		if _, err := ParseConfig([]byte(s)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", s, err, want)
		}
	}
}

// encrypted is what this makes of "sekrit": openssl enc -aes-256-cbc -base64,
// key the ASCII digits of the secret "master", iv 00 01 … 0f.
const encrypted = "KVjz7ISnNiJzISdIcMElMg=="
