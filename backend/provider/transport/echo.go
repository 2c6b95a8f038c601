package transport

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// requestIDs matches a UUID with or without dashes, on its own, after "req-" (OpenStack), or after "token_" and a region
// (IAM). It matches at most 64 characters.
var requestIDs = regexp.MustCompile(`^(req-|token_([a-z]{2,4}-[a-z]{2,12}-[0-9]{1,3}_)?)?([0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$`)

// RequestID returns text if it has the form of a remote system's identifier of a call and is not an echo of the request, else
// "". It is shown to operators, and a remote system or a proxy could put anything in its place. One that is malicious can
// still hide 16 bytes there, encrypted, from everyone but its accomplices: a UUID has no more to recognize it by.
func (r *Response) RequestID(text string) string {
	if !requestIDs.MatchString(text) || r.Echoes(text) {
		return ""
	}
	return text
}

// echoLength is the number of consecutive characters shared with the request that make a text an echo. A random
// hexadecimal identifier shares that many by chance about once in 10 million responses.
const echoLength = 8

// Echoes reports whether text from the response repeats part of the request's headers or body, or of the secrets that
// its context hides (see [Hiding]), in plain text, hexadecimal or base64, forwards or backwards. Call it before showing a
// code or an identifier from a response: a password may look like either, and a malicious remote system can put it there.
func (r *Response) Echoes(text string) bool {
	sent := r.sent.Reveal()
	forms := append(decodings(text), decodings(reversed(text))...)
	for _, form := range forms[:len(forms):len(forms)] {
		forms = append(forms, reversed(form))
	}
	for _, form := range forms {
		for at := 0; at+echoLength <= len(form); at++ {
			if strings.Contains(sent, form[at:at+echoLength]) {
				return true
			}
		}
	}
	return false
}

func reversed(text string) string {
	out := []byte(text)
	slices.Reverse(out)
	return string(out)
}

var (
	hexRuns    = regexp.MustCompile(`[0-9A-Fa-f]{16,}`)
	base64Runs = regexp.MustCompile(`[A-Za-z0-9+/]{11,}`)
)

// decodings returns the text itself and its hexadecimal and base64 decodings at every alignment.
func decodings(text string) []string {
	out := []string{text}
	for _, run := range hexRuns.FindAllString(strings.NewReplacer("-", "", "_", "", ".", "").Replace(text), -1) {
		for begin := range 2 {
			raw, _ := hex.DecodeString(run[begin:]) // ignores an odd last digit
			out = append(out, string(raw))
		}
	}
	for _, run := range base64Runs.FindAllString(strings.NewReplacer("-", "+", "_", "/").Replace(text), -1) {
		for begin := range 4 {
			raw, _ := base64.RawStdEncoding.DecodeString(run[begin : begin+(len(run)-begin)/4*4])
			out = append(out, string(raw))
		}
	}
	return out
}

// plainHeaders hold no secrets, and a legitimate response may repeat parts of them.
var plainHeaders = map[string]bool{"Accept": true, "Content-Type": true, "User-Agent": true, "X-Project-Id": true, "X-Sdk-Date": true}

type hidingKey struct{}

// Hiding returns a context for calls whose responses must not repeat these secrets either, although the requests do not
// contain them: the remote system knows them anyway, from an earlier request or to verify a signature.
func Hiding(ctx context.Context, secrets ...string) context.Context {
	before, _ := ctx.Value(hidingKey{}).(Secret)
	return context.WithValue(ctx, hidingKey{}, NewSecret(before.Reveal()+strings.Join(secrets, "\n")+"\n"))
}

// sentBy returns everything in a request that a response must not repeat, and the secrets that its context hides.
func sentBy(req *http.Request, body []byte) Secret {
	var b strings.Builder
	if hidden, ok := req.Context().Value(hidingKey{}).(Secret); ok {
		b.WriteString(hidden.Reveal())
	}
	for name, values := range req.Header {
		if !plainHeaders[name] {
			b.WriteString(strings.Join(values, "\n") + "\n")
		}
	}
	b.Write(body)
	return NewSecret(b.String())
}
