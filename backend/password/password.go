// Package password checks passwords against the rules of a remote system, and generates passwords that meet them.
//
// A remote system's rules are data: a provider returns [Rules] for an account. Check every password with [Rules.Check]
// before it is sent, wherever it comes from. Some systems do not check at all, and some replace a character that they do
// not accept; the stored password would then not be the one that was set.
package password

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rules describe the passwords that a remote system accepts for one account. The zero value accepts none.
type Rules struct {
	// MinLength and MaxLength limit the number of characters.
	MinLength, MaxLength int
	// Allowed holds every character that a password may contain.
	Allowed string
	// Present holds every character that a password may contain which is already in force. "" means that the account's
	// password can also be set where these rules do not apply, so nothing is known about it.
	Present string
	// MinClasses is how many of the four classes lower case, upper case, digit and special a password must contain.
	MinClasses int
	// Forbidden strings must not occur, in upper or lower case: the account's name, for example.
	Forbidden []string
	// Recipe is how to generate a password if no password policy is configured.
	Recipe Recipe
}

// Recipe is how to generate a password.
type Recipe struct {
	// Length is the number of characters.
	Length int
	// Classes are the sets of characters to draw from.
	Classes []Class
	// PlainEnds requires an ASCII letter as the first character and an ASCII letter or digit as the last one, because
	// programs read a leading special character as an option, and a leading digit as the start of a number.
	PlainEnds bool
}

// Class is a set of characters of which at least Min must occur.
type Class struct {
	Characters string
	Min        int
}

// The usual classes.
const (
	Lower  = "abcdefghijklmnopqrstuvwxyz"
	Upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	Digits = "0123456789"
	// Plain are the specials that URLs, shells, YAML, .env and ini files take as they are. The tilde is not among them: PHP
	// reads it as an operator in ini files.
	Plain = "-_."
)

// Mixed is the recipe of all providers, with these letters and specials: at least three lower-case letters, three upper-case
// letters, three digits and two specials, and plain ends. People paste passwords into files and URLs, so the specials
// should be Plain.
func Mixed(length int, lower, upper, specials string) Recipe {
	return Recipe{Length: length, PlainEnds: true, Classes: []Class{{lower, 3}, {upper, 3}, {Digits, 3}, {specials, 2}}}
}

// RuleError reports that a password breaks a rule. It names the rule and contains no part of the password.
type RuleError struct {
	// Rule completes the sentence "the password …".
	Rule string
}

func (e *RuleError) Error() string { return "the password " + e.Rule }

// ControlRule returns the rule that a secret breaks if it contains control characters, as a clause: in most cases the line
// break at the end of a file. Otherwise it returns "".
func ControlRule(secret string) string {
	switch {
	case !strings.ContainsFunc(secret, unicode.IsControl):
		return ""
	case !strings.ContainsFunc(strings.TrimRight(secret, "\r\n"), unicode.IsControl):
		return "ends with a line break: write it with printf, or use a file without one"
	default:
		return "contains a control character, such as a line break or a tab"
	}
}

// Check returns a *RuleError for the first rule that the password breaks, or nil.
func (r Rules) Check(password string) error {
	if rule := ControlRule(password); rule != "" {
		return &RuleError{Rule: rule}
	}
	if err := checkCharacters(password, r.Allowed); err != nil {
		return err
	}
	if utf8.RuneCountInString(password) < r.MinLength {
		return &RuleError{Rule: fmt.Sprintf("is too short: at least %d characters are required", r.MinLength)}
	}
	if err := checkLength(password, r.MaxLength); err != nil {
		return err
	}
	if n := classes(password); n < r.MinClasses {
		return &RuleError{Rule: fmt.Sprintf("has too few kinds of characters: at least %d of lower case, upper case, digits and special characters are required", r.MinClasses)}
	}
	folded := strings.ToLower(password)
	for _, word := range r.Forbidden {
		if word != "" && strings.Contains(folded, strings.ToLower(word)) {
			return &RuleError{Rule: "contains a word that the remote system forbids, such as the account's name or its reverse"}
		}
	}
	return nil
}

// maxPresent limits a password about which nothing is known.
const maxPresent = 1024

// CheckPresent is Check for a password that somebody says is in force. It breaks a rule only if the remote system cannot have
// it: the other rules may be younger than the password.
func (r Rules) CheckPresent(password string) error {
	if rule := ControlRule(password); rule != "" {
		return &RuleError{Rule: rule}
	}
	if r.Present == "" {
		return checkLength(password, maxPresent)
	}
	if err := checkCharacters(password, r.Present); err != nil {
		return err
	}
	return checkLength(password, r.MaxLength)
}

func checkCharacters(password, allowed string) error {
	for _, c := range password {
		if !strings.ContainsRune(allowed, c) {
			return &RuleError{Rule: "contains a character that the remote system does not accept; it accepts " + Describe(allowed)}
		}
	}
	return nil
}

func checkLength(password string, most int) error {
	if utf8.RuneCountInString(password) > most {
		return &RuleError{Rule: fmt.Sprintf("is too long: at most %d characters are allowed", most)}
	}
	return nil
}

// maxDraws is how often Generate draws a password, because one may contain a forbidden word by chance.
const maxDraws = 100

// Generate returns a password made by the recipe that meets the rules. It reads randomness from random, which is
// crypto/rand.Reader except in tests. It is safe for concurrent use if random is.
func (r Rules) Generate(random io.Reader) (string, error) {
	for range maxDraws {
		password, err := r.Recipe.draw(random)
		if err != nil {
			return "", err
		}
		if r.Check(password) == nil {
			return password, nil
		}
	}
	return "", fmt.Errorf("none of %d generated passwords meets the rules of the remote system; the account's name may be too short to be avoided", maxDraws)
}

func (r Recipe) draw(random io.Reader) (string, error) {
	var all string
	var required []string // the class of each required character
	for _, class := range r.Classes {
		all += class.Characters
		required = append(required, slices.Repeat([]string{class.Characters}, class.Min)...)
	}
	if r.Length < max(len(required), 1) {
		return "", errors.New("the length of the password recipe is zero, or less than it requires of its classes")
	}
	out := make([]byte, r.Length)
	for i := range out {
		set := all
		if i < len(required) {
			set = required[i]
		}
		at, err := index(random, len(set))
		if err != nil {
			return "", err
		}
		out[i] = set[at]
	}
	// Fisher-Yates: the positions of the required characters must not be predictable.
	for i := len(out) - 1; i > 0; i-- {
		j, err := index(random, i+1)
		if err != nil {
			return "", err
		}
		out[i], out[j] = out[j], out[i]
	}
	if r.PlainEnds {
		if err := bring(random, out, 0, Lower+Upper); err != nil {
			return "", err
		}
		if err := bring(random, out[1:], len(out)-2, Lower+Upper+Digits); err != nil {
			return "", err
		}
	}
	return string(out), nil
}

// bring swaps a random character of the set into a position, unless it has one. It does nothing if there is no position.
func bring(random io.Reader, out []byte, position int, set string) error {
	if len(out) == 0 || strings.IndexByte(set, out[position]) >= 0 {
		return nil
	}
	var fitting []int
	for i, c := range out {
		if strings.IndexByte(set, c) >= 0 {
			fitting = append(fitting, i)
		}
	}
	i, err := index(random, len(fitting))
	if err != nil {
		return err
	}
	out[position], out[fitting[i]] = out[fitting[i]], out[position]
	return nil
}

// index returns an unbiased random number in [0, n).
func index(random io.Reader, n int) (int, error) {
	if n <= 0 {
		return 0, errors.New("the password recipe has no such character")
	}
	i, err := rand.Int(random, big.NewInt(int64(n)))
	if err != nil {
		return 0, fmt.Errorf("reading randomness for a password: %w", err)
	}
	return int(i.Int64()), nil
}

func classes(password string) int {
	var lower, upper, digit, special int
	for _, c := range password {
		switch {
		case unicode.IsLower(c):
			lower = 1
		case unicode.IsUpper(c):
			upper = 1
		case unicode.IsDigit(c):
			digit = 1
		default:
			special = 1
		}
	}
	return lower + upper + digit + special
}

// Reverse returns the text with its characters in reverse order. Remote systems forbid reversed account names.
func Reverse(text string) string {
	runes := []rune(text)
	slices.Reverse(runes)
	return string(runes)
}

// Describe returns a short description of a set of characters, such as "a-z 0-9 -_".
func Describe(allowed string) string {
	rest := allowed
	var parts []string
	for _, set := range []struct{ characters, name string }{{Lower, "a-z"}, {Upper, "A-Z"}, {Digits, "0-9"}} {
		if strings.Contains(rest, set.characters) {
			parts = append(parts, set.name)
			rest = strings.Replace(rest, set.characters, "", 1)
		}
	}
	if rest != "" {
		parts = append(parts, rest)
	}
	return strings.Join(parts, " ")
}
