package transport

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// requestIDs are hexadecimal, with dashes or without, behind a word or without one ("token_5f0c…" of IAM).
var requestIDs = regexp.MustCompile(`^([A-Za-z]{1,16}[_-])?[0-9A-Fa-f-]{1,40}$`)

// RequestID returns a remote system's identifier of a call, if it looks like one and is no echo of the request, else "".
// It is shown to operators, and where a remote system or a proxy puts something else in its place that could be anything.
func (r *Response) RequestID(text string) string {
	if !requestIDs.MatchString(text) || r.Echoes(text) {
		return ""
	}
	return text
}

// echoLength is how many characters in a row that a text shares with the request make it an echo. Random hexadecimal
// identifiers share so many by chance once in some 10 million answers.
const echoLength = 8

// Echoes tells whether a text of the answer repeats a part of the request's headers or body, or of what the call hides
// besides (see [Hiding]), as it is, in hexadecimal or in base64. Ask it before a code or an identifier of an answer is
// shown: a password may look like either, and a remote system that means harm can put it there.
func (r *Response) Echoes(text string) bool {
	sent := r.sent.Reveal()
	for _, form := range decodings(text) {
		for at := 0; at+echoLength <= len(form); at++ {
			if strings.Contains(sent, form[at:at+echoLength]) {
				return true
			}
		}
	}
	return false
}

var (
	hexRuns    = regexp.MustCompile(`[0-9A-Fa-f]{16,}`)
	base64Runs = regexp.MustCompile(`[A-Za-z0-9+/]{11,}`)
)

// decodings are the text itself and what stands in it in hexadecimal and in base64, wherever that begins.
func decodings(text string) []string {
	out := []string{text}
	for _, run := range hexRuns.FindAllString(strings.NewReplacer("-", "", "_", "", ".", "").Replace(text), -1) {
		for begin := range 2 {
			raw, _ := hex.DecodeString(run[begin:]) // up to what is no pair
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

// plainHeaders hold nothing that may not be shown, and parts of them may well stand in an answer.
var plainHeaders = map[string]bool{"Accept": true, "Content-Type": true, "User-Agent": true, "X-Project-Id": true, "X-Sdk-Date": true}

type hidingKey struct{}

// Hiding returns a context for calls whose answers must not repeat these secrets either, although the requests do not hold
// them: the remote system knows them all the same, from the request before or as the other end of a signature.
func Hiding(ctx context.Context, secrets ...string) context.Context {
	before, _ := ctx.Value(hidingKey{}).(Secret)
	return context.WithValue(ctx, hidingKey{}, NewSecret(before.Reveal()+strings.Join(secrets, "\n")+"\n"))
}

// sentBy is all of a request that an answer must not repeat, and what its context hides.
func sentBy(req *http.Request) Secret {
	var b strings.Builder
	if hidden, ok := req.Context().Value(hidingKey{}).(Secret); ok {
		b.WriteString(hidden.Reveal())
	}
	for name, values := range req.Header {
		if !plainHeaders[name] {
			b.WriteString(strings.Join(values, "\n") + "\n")
		}
	}
	if req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			_, _ = io.Copy(&b, body) // from memory
		}
	}
	return NewSecret(b.String())
}
