package huaweicloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

const (
	algorithm     = "SDK-HMAC-SHA256"
	dateFormat    = "20060102T150405Z"
	headerDate    = "X-Sdk-Date"
	headerSTS     = "X-Security-Token"
	headerProject = "X-Project-Id"
)

// Signer signs requests with an access key, as the guide says:
// https://support.huaweicloud.com/intl/en-us/devg-apisign/apisign-devg-pdf.pdf
// It is safe for concurrent use.
type Signer struct {
	AccessKey string
	SecretKey transport.Secret
	// SecurityToken belongs to temporary keys.
	SecurityToken transport.Secret
	// Now is the clock. A signature is refused when it is more than 15 minutes off.
	Now func() time.Time
}

// signedHeaders are signed where a request has them. Only x-sdk-date must be; signing the others too keeps a request
// from being sent elsewhere, or being read as something else, by whoever may see it.
var signedHeaders = []string{"content-type", "host", "x-project-id", "x-sdk-date", "x-security-token"}

// Sign sets the date, the security token and the Authorization header. The body is the very bytes that are sent, and
// every other header that is signed must be set before.
func (s Signer) Sign(req *http.Request, body []byte) {
	req.Header.Set(headerDate, s.Now().UTC().Format(dateFormat))
	if token := s.SecurityToken.Reveal(); token != "" {
		req.Header.Set(headerSTS, token)
	}
	names := make([]string, 0, len(signedHeaders))
	for _, name := range signedHeaders {
		if headerValue(req, name) != "" {
			names = append(names, name)
		}
	}
	s.sign(req, body, names)
}

// sign signs the headers with these lower-case names, which are sorted.
func (s Signer) sign(req *http.Request, body []byte, names []string) {
	canonical := canonicalRequest(req, body, names)
	text := algorithm + "\n" + req.Header.Get(headerDate) + "\n" + hexSum([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(s.SecretKey.Reveal()))
	mac.Write([]byte(text))
	signature := hex.EncodeToString(mac.Sum(nil))
	req.Header.Set("Authorization",
		algorithm+" Access="+s.AccessKey+", SignedHeaders="+strings.Join(names, ";")+", Signature="+signature)
}

// canonicalRequest is the text that the signature covers. Its path ends in a slash even where the request's does not.
func canonicalRequest(req *http.Request, body []byte, names []string) string {
	var b strings.Builder
	b.WriteString(req.Method + "\n" + canonicalPath(req.URL) + "\n" + canonicalQuery(req.URL) + "\n")
	for _, name := range names {
		b.WriteString(name + ":" + headerValue(req, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(names, ";") + "\n" + hexSum(body))
	return b.String()
}

func headerValue(req *http.Request, name string) string {
	if name != "host" {
		return strings.TrimSpace(req.Header.Get(name))
	}
	if req.Host != "" {
		return req.Host
	}
	return req.URL.Host
}

func canonicalPath(u *url.URL) string {
	segments := strings.Split(u.Path, "/")
	for i, segment := range segments {
		segments[i] = escape(segment)
	}
	path := strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return path
}

func canonicalQuery(u *url.URL) string {
	var pairs [][2]string
	for name, values := range u.Query() {
		for _, value := range values {
			pairs = append(pairs, [2]string{name, value})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	out := make([]string, 0, len(pairs))
	for _, pair := range pairs {
		out = append(out, escape(pair[0])+"="+escape(pair[1]))
	}
	return strings.Join(out, "&")
}

// escape percent-encodes everything but RFC 3986's unreserved characters; package url has no such function.
func escape(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
