package huaweicloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm    = "SDK-HMAC-SHA256"
	dateHeader   = "X-Sdk-Date"
	dateLayout   = "20060102T150405Z"
	hashHeader   = "X-Sdk-Content-Sha256"
	unsignedBody = "UNSIGNED-PAYLOAD"
	// window is the maximum difference between X-Sdk-Date and the gateway's clock.
	window = 15 * time.Minute
)

// authorization is a parsed Authorization header.
type authorization struct {
	access    string
	signed    []string // names as sent
	signature string
}

// parseAuthorization parses "SDK-HMAC-SHA256 Access=AK, SignedHeaders=a;b,
// Signature=hex": a space and no comma after the algorithm, header names in lower
// case and sorted. See
// https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm-005.html
func parseAuthorization(header string) (authorization, bool) {
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return authorization{}, false
	}
	parts := strings.Split(rest, ",")
	if len(parts) != 3 {
		return authorization{}, false
	}
	values := make([]string, 3)
	for i, name := range []string{"Access=", "SignedHeaders=", "Signature="} {
		value, found := strings.CutPrefix(strings.TrimSpace(parts[i]), name)
		if !found || value == "" {
			return authorization{}, false
		}
		values[i] = value
	}
	a := authorization{access: values[0], signed: strings.Split(values[1], ";"), signature: values[2]}
	previous := ""
	for _, name := range a.signed {
		if name <= previous || name != strings.ToLower(name) { // empty, out of order or duplicate
			return authorization{}, false
		}
		previous = name
	}
	return a, true
}

// escape percent-encodes a string as signatures require: everything but the
// unreserved characters of RFC 3986.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// canonicalURI encodes each segment and appends a slash, even if the path as sent
// has none.
func canonicalURI(u *url.URL) string {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
		segments[i] = escape(s)
	}
	return strings.TrimSuffix(strings.Join(segments, "/"), "/") + "/"
}

func canonicalQuery(u *url.URL) string {
	var pairs [][2]string
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, [2]string{name, v})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	encoded := make([]string, len(pairs))
	for i, p := range pairs {
		encoded[i] = escape(p[0]) + "=" + escape(p[1])
	}
	return strings.Join(encoded, "&")
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// canonicalRequest reconstructs what the client must have signed. It reports false
// if a signed header is missing or duplicated.
func canonicalRequest(r *http.Request, body []byte, signed []string) (string, bool) {
	var headers strings.Builder
	for _, name := range signed {
		values := r.Header.Values(name)
		switch name {
		case "host": // net/http does not keep these two in Header
			values = []string{r.Host}
		case "content-length":
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		if len(values) != 1 {
			return "", false
		}
		headers.WriteString(name + ":" + strings.TrimSpace(values[0]) + "\n")
	}
	hash := hexSHA256(body)
	if sent := r.Header.Get(hashHeader); sent == unsignedBody {
		hash = sent
	}
	return strings.Join([]string{
		r.Method, canonicalURI(r.URL), canonicalQuery(r.URL), headers.String(), strings.Join(signed, ";"), hash,
	}, "\n"), true
}

// sign returns the signature of a canonical request. The HMAC key is the secret
// key itself.
func sign(secret, date, canonical string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(algorithm + "\n" + date + "\n" + hexSHA256([]byte(canonical))))
	return hex.EncodeToString(mac.Sum(nil))
}

// Sign signs a request with a body, as a client does. Tests use it to call the
// simulator. It signs Host, X-Sdk-Date and, if set, Content-Type, X-Project-Id and
// X-Security-Token.
func Sign(r *http.Request, body []byte, k AccessKey, now time.Time) {
	date := now.UTC().Format(dateLayout)
	r.Header.Set(dateHeader, date)
	if k.SecurityToken != "" {
		r.Header.Set("X-Security-Token", k.SecurityToken)
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	var signed []string
	for _, name := range []string{"content-type", "host", "x-project-id", "x-sdk-date", "x-security-token"} {
		if name == "host" || r.Header.Get(name) != "" {
			signed = append(signed, name)
		}
	}
	canonical, _ := canonicalRequest(r, body, signed)
	r.Header.Set("Authorization", algorithm+" Access="+k.AccessKey+", SignedHeaders="+strings.Join(signed, ";")+
		", Signature="+sign(k.SecretKey, date, canonical))
}
