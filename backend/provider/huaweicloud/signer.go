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

// Signer signs requests with an access key, as documented in
// https://support.huaweicloud.com/intl/en-us/devg-apisign/apisign-devg-pdf.pdf
// It is safe for concurrent use.
type Signer struct {
	AccessKey string
	SecretKey transport.Secret
	// SecurityToken belongs to temporary keys.
	SecurityToken transport.Secret
	// Now is the clock. A signature is refused if the clock is off by more than 15 minutes.
	Now func() time.Time
}

// signedHeaders are signed if a request has them. Only x-sdk-date is mandatory; signing the others prevents anyone who
// sees the request from sending it elsewhere or changing its meaning.
var signedHeaders = []string{"content-type", "host", "x-project-id", "x-sdk-date", "x-security-token"}

// Sign sets the date, the security token and the Authorization header. body must be exactly the bytes that are sent, and
// all other signed headers must already be set.
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

// sign signs the headers with these names, which must be lower-case and sorted.
func (s Signer) sign(req *http.Request, body []byte, names []string) {
	canonical := canonicalRequest(req, body, names)
	text := algorithm + "\n" + req.Header.Get(headerDate) + "\n" + hexSum([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(s.SecretKey.Reveal()))
	mac.Write([]byte(text))
	signature := hex.EncodeToString(mac.Sum(nil))
	req.Header.Set("Authorization",
		algorithm+" Access="+s.AccessKey+", SignedHeaders="+strings.Join(names, ";")+", Signature="+signature)
}

// canonicalRequest returns the text that the signature covers. Its path ends in a slash even if the request's does not.
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
	query := u.Query()
	for _, values := range query {
		slices.Sort(values)
	}
	return unplus(query.Encode())
}

// escape percent-encodes everything except RFC 3986's unreserved characters.
func escape(text string) string { return unplus(url.QueryEscape(text)) }

// unplus replaces the only way in which the encoding of package url differs.
func unplus(escaped string) string { return strings.ReplaceAll(escaped, "+", "%20") }

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
