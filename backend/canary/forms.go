package canary

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Forms returns the possible encodings of a secret, by the name of the encoder.
func Forms(secret string) map[string][]string {
	out := map[string][]string{
		"plain": {secret},
		"URL":   {url.QueryEscape(secret), url.PathEscape(secret), percent(secret, "%%%02X", false), percent(secret, "%%%02x", false), percent(secret, "%%%02X", true), percent(secret, "%%%02x", true), inPath(secret), inUserInfo(secret)},
		"XML": {
			xmlText(secret), xmlNames.Replace(secret), xmlNumbers.Replace(secret), xmlHTML.Replace(secret),
			each(secret, "&#%d;"), each(secret, "&#x%x;"), each(secret, "&#x%X;"), each(secret, "&#x%02x;"), each(secret, "&#x%04X;"),
		},
		"hex":   {fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret), fmt.Sprintf("% X", secret)},
		"bytes": {listed(secret, "%d", " "), listed(secret, "%d", ", "), listed(secret, "%d", ","), listed(secret, "0x%x", ", ")},
		"Go":    {inside(strconv.Quote(secret)), inside(strconv.QuoteToASCII(secret)), each(secret, `\x%02x`)},
	}
	hexed := fmt.Sprintf("%x", secret)
	out["reversed"] = []string{reversed(secret), reversed(hexed), fmt.Sprintf("%x", reversed(secret))}
	jsons := []string{
		jsonText(secret, true), jsonText(secret, false), strings.ReplaceAll(jsonText(secret, true), "/", `\/`),
		strings.ReplaceAll(jsonText(secret, false), "/", `\/`), each(secret, `\u%04x`), each(secret, `\u%04X`),
	}
	for _, text := range jsons { // JSON inside JSON, as in logs of requests
		jsons = append(jsons, jsonText(text, false), jsonText(text, true))
	}
	out["JSON"] = jsons
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			out["base64"] = append(out["base64"], base64Core(alphabet, secret, before))
		}
	}
	return out
}

// base64Core returns the part of a base64 encoding that depends on the secret alone, if it is preceded by the given
// number of bytes in its group of three. The encoding contains this part regardless of the text around the secret, such
// as "user:" before a password.
func base64Core(alphabet *base64.Encoding, secret string, before int) string {
	text := alphabet.EncodeToString([]byte(strings.Repeat("\x00", before) + secret))
	first := (before*8 + 5) / 6 // the first character without bits of the preceding text
	whole := (before + len(secret)) * 8 / 6
	return text[first:whole]
}

// inPath and inUserInfo return the encodings of package url in these parts of a URL, where fewer characters are escaped.
func inPath(secret string) string {
	return strings.TrimPrefix((&url.URL{Path: "/" + secret}).EscapedPath(), "/")
}

func inUserInfo(secret string) string {
	return strings.TrimPrefix(url.UserPassword("", secret).String(), ":")
}

// percent escapes all characters except letters, digits and "-_.~", or all characters.
func percent(secret, format string, everything bool) string {
	var b strings.Builder
	for i := range len(secret) {
		c := secret[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !everything && (plain || strings.IndexByte("-_.~", c) >= 0) {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// each formats every character as its number.
func each(secret, format string) string {
	var b strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

// listed formats the bytes as a list of numbers, as %v does.
func listed(secret, format, between string) string {
	parts := make([]string, 0, len(secret))
	for i := range len(secret) {
		parts = append(parts, fmt.Sprintf(format, secret[i]))
	}
	return strings.Join(parts, between)
}

var (
	xmlNames   = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `"`, "&quot;", `'`, "&apos;")
	xmlNumbers = strings.NewReplacer(`&`, "&#38;", `<`, "&#60;", `>`, "&#62;", `"`, "&#34;", `'`, "&#39;")
	xmlHTML    = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `"`, "&#34;", `'`, "&#39;")
)

func xmlText(secret string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(secret)) != nil {
		return ""
	}
	return b.String()
}

func jsonText(secret string, html bool) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	if err := encoder.Encode(secret); err != nil {
		return ""
	}
	return inside(strings.TrimSuffix(b.String(), "\n"))
}

// inside removes the quotes.
func inside(quoted string) string { return quoted[1 : len(quoted)-1] }

func reversed(text string) string {
	out := []byte(text)
	slices.Reverse(out)
	return string(out)
}
