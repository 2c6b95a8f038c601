package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Test secrets that contain every character that any encoder escapes.
var samples = []string{
	`Test<Pass>&"word"'/1+2=3\%`, "Test-Passw0rd.4711", "Test/Sl+sh==Pass", "Tést-Pässword-1", "Test Pass word 1", "TestTest", "Test-Pa9",
}

// writings encodes a secret independently of Forms.
func writings(t *testing.T, secret string) map[string]string {
	t.Helper()
	var page bytes.Buffer
	require.NoError(t, xml.EscapeText(&page, []byte(secret)))
	plain, err := json.Marshal(map[string]string{"password": secret})
	require.NoError(t, err)
	nested, err := json.Marshal(map[string]string{"body": string(plain)})
	require.NoError(t, err)
	var decimal, hexadecimal, unicode strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&decimal, "&#%d;", r)
		fmt.Fprintf(&hexadecimal, "&#x%X;", r)
		unicode.WriteString(`\u` + fmt.Sprintf("%04x", r))
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://h/", http.NoBody)
	require.NoError(t, err)
	request.SetBasicAuth("a", secret)
	out := map[string]string{
		"plain":              secret,
		"query":              url.Values{"p": {secret}}.Encode(),
		"path":               (&url.URL{Scheme: "https", Host: "h", Path: "/x/" + secret}).EscapedPath(),
		"userinfo":           url.UserPassword("u", secret).String(),
		"lower-case percent": strings.ToLower(strings.ReplaceAll(url.QueryEscape(secret), "+", "%20")),
		"XML":                page.String(),
		"HTML":               html.EscapeString(secret),
		"decimal":            decimal.String(),
		"hexadecimal":        hexadecimal.String(),
		"JSON":               string(plain),
		"JSON in JSON":       string(nested),
		"JSON in Go":         strconv.Quote(string(plain)),
		"PHP's JSON":         strings.ReplaceAll(string(plain), "/", `\/`),
		"JSON by number":     unicode.String(),
		"%q":                 fmt.Sprintf("%q", secret),
		"%+q":                fmt.Sprintf("%+q", secret),
		"%v of bytes":        fmt.Sprintf("%d", []byte(secret)),
		"%#v of bytes":       fmt.Sprintf("%#v", []byte(secret)),
		"hex":                hex.EncodeToString([]byte(secret)),
		"reversed hex":       reversed(hex.EncodeToString([]byte(secret))),
		"hex of reversed":    hex.EncodeToString([]byte(reversed(secret))),
		"basic auth":         request.Header.Get("Authorization"),
	}
	for before := range 4 {
		for behind := range 4 {
			framed := []byte(strings.Repeat("x", before) + secret + strings.Repeat("y", behind))
			name := fmt.Sprintf("base64 between %d and %d", before, behind)
			out[name], out[name+", for URLs"] = base64.StdEncoding.EncodeToString(framed), base64.RawURLEncoding.EncodeToString(framed)
		}
	}
	return out
}

func TestFindSeesEveryEncoding(t *testing.T) {
	t.Parallel()
	for i, secret := range samples {
		var set Set
		set.Add("the sample", secret)
		for name, written := range writings(t, secret) {
			if name == "lower-case percent" && strings.ToLower(secret) != secret {
				written = strings.ReplaceAll(secret, "%", "%25")
				for _, c := range `<>&"'/+=\ ` {
					written = strings.ReplaceAll(written, string(c), fmt.Sprintf("%%%02x", c))
				}
				if strings.Contains(secret, "é") {
					continue
				}
			}
			text := "2026-01-02T03:04:05Z [TRACE] before " + written + " behind\n"
			found := set.Find([]byte(text))
			require.NotEmpty(t, found, "sample %d as %s", i, name)
			require.NotContains(t, Describe(found), secret, "a finding does not contain the secret")
		}
	}
}

func TestFindingsHoldKindAndPlace(t *testing.T) {
	t.Parallel()
	var set Set
	set.Add("an account's password", "Test-Passw0rd.4711")
	set.Add("a key", "0123456789abcdef-Test")
	found := set.Find([]byte("a 0123456789abcdef-Test b Test-Passw0rd.4711 c Test-Passw0rd.4711"))
	require.Contains(t, found, Finding{Kind: "a key", Form: "plain", Offset: 2})
	require.Contains(t, found, Finding{Kind: "an account's password", Form: "plain", Offset: 26})
	for _, f := range found {
		require.Less(t, f.Offset, 30, "each is reported once")
	}
}

func TestFindHasNoFalsePositives(t *testing.T) {
	t.Parallel()
	var set Set
	require.Empty(t, set.Find([]byte("anything at all, with no secret known")))
	for _, short := range []string{"", "x", "root", "admin", "1234567", "passwor"} {
		set.Add("too short", short)
	}
	require.Zero(t, set.Len())
	for _, secret := range samples {
		set.Add("a sample", secret)
	}
	var text bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&text, `{"time":"2026-01-02T03:04:05Z","level":"trace","path":"h%d/creds/web1","password":"hmac-sha256:%064x","test":"Test"}`, i, i*7919)
		text.WriteString(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "admin:somebody else's %d", i)) + "Test-Passw0rd.471\nTestTes t")
	}
	require.Empty(t, set.Find(text.Bytes()))
	require.Empty(t, set.Find([]byte("Test-Pa")), "a text may end in the middle of a secret")
}

// The log of a long run has about 50 MB and thousands of secrets. Searching it must not take minutes.
func TestFindIsFastOnLongLogs(t *testing.T) {
	t.Parallel()
	var set Set
	for i := range 1000 {
		set.Add("a generated one", fmt.Sprintf("Test-%d-Passw0rd_%d~", i*7919, i*104729))
	}
	line := []byte(`2026-01-02T03:04:05.678Z [DEBUG] secrets.hosting: password changed: role=web1 connection=panel version=12` + "\n")
	text := append(bytes.Repeat(line, 16<<20/len(line)), []byte("Test-7919-Passw0rd_104729~")...)
	begin := time.Now()
	require.Equal(t, []Finding{{Kind: "a generated one", Form: "plain", Offset: len(text) - len("Test-7919-Passw0rd_104729~")}}, set.Find(text))
	require.Less(t, time.Since(begin), 20*time.Second)
	t.Log(time.Since(begin))
}
