// Package password checks passwords against the rules of a remote system, and makes passwords that fit them.
//
// A remote system's rules are data: a provider returns [Rules] for an account. Every password is checked with
// [Rules.Check] before it is sent, wherever it comes from: some systems do not check at all, some change a character
// that they do not like, and then the stored password is not the one that was set.
package password

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"unicode"
)

// Rules say what a remote system takes as a password for one account. The zero value takes nothing.
type Rules struct {
	// MinLength and MaxLength bound the number of characters.
	MinLength, MaxLength int
	// Allowed holds every character that may be used.
	Allowed string
	// MinClasses is how many of the four classes lower case, upper case, digit and special must occur.
	MinClasses int
	// Forbidden strings may not occur, in any case: the account's name, for one.
	Forbidden []string
	// Recipe is how a password is made where no policy is named.
	Recipe Recipe
}

// Recipe is how to make a password.
type Recipe struct {
	// Length is the number of characters.
	Length int
	// Classes are the characters to take, and of each at least how many.
	Classes []Class
	// LetterFirst demands an ASCII letter as the first character, for programs that take a leading special for an option.
	LetterFirst bool
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
)

// RuleError is a password that breaks a rule. It names the rule and never the password or a part of it.
type RuleError struct {
	// Rule completes the sentence "the password …".
	Rule string
}

func (e *RuleError) Error() string { return "the password " + e.Rule }

// Check returns a *RuleError that names the first rule that the password breaks, or nil.
func (r Rules) Check(password string) error {
	length := 0
	for _, c := range password {
		length++
		if !strings.ContainsRune(r.Allowed, c) {
			return &RuleError{Rule: "has a character that the remote system does not take; it takes " + Describe(r.Allowed)}
		}
	}
	if length < r.MinLength {
		return &RuleError{Rule: fmt.Sprintf("is too short: at least %d characters are needed", r.MinLength)}
	}
	if length > r.MaxLength {
		return &RuleError{Rule: fmt.Sprintf("is too long: at most %d characters are allowed", r.MaxLength)}
	}
	if n := classes(password); n < r.MinClasses {
		return &RuleError{Rule: fmt.Sprintf("has too few kinds of characters: at least %d of lower case, upper case, digits and specials are needed", r.MinClasses)}
	}
	folded := strings.ToLower(password)
	for _, word := range r.Forbidden {
		if word != "" && strings.Contains(folded, strings.ToLower(word)) {
			return &RuleError{Rule: "contains a word that the remote system forbids, such as the account's name or its reversal"}
		}
	}
	return nil
}

// tries bounds how often Generate draws again because a password contains a forbidden word by chance.
const tries = 100

// Generate makes a password by the recipe that meets the rules. It reads randomness from random, which is
// crypto/rand.Reader but in tests. Safe for concurrent use if random is.
func (r Rules) Generate(random io.Reader) (string, error) {
	for range tries {
		password, err := r.Recipe.draw(random)
		if err != nil {
			return "", err
		}
		err = r.Check(password)
		var broken *RuleError
		if errors.As(err, &broken) {
			continue
		}
		return password, err
	}
	return "", fmt.Errorf("no password that meets the rules was found in %d tries; the account's name may be too short to be avoided", tries)
}

func (r Recipe) draw(random io.Reader) (string, error) {
	if r.Length <= 0 || len(r.Classes) == 0 {
		return "", errors.New("the recipe for passwords is empty")
	}
	var all strings.Builder
	out := make([]byte, 0, r.Length)
	for _, class := range r.Classes {
		all.WriteString(class.Characters)
		for range class.Min {
			c, err := pick(random, class.Characters)
			if err != nil {
				return "", err
			}
			out = append(out, c)
		}
	}
	if len(out) > r.Length {
		return "", errors.New("the recipe for passwords demands more characters than it has room for")
	}
	for len(out) < r.Length {
		c, err := pick(random, all.String())
		if err != nil {
			return "", err
		}
		out = append(out, c)
	}
	// Fisher-Yates: where the demanded characters stand must not be guessable.
	for i := len(out) - 1; i > 0; i-- {
		j, err := index(random, i+1)
		if err != nil {
			return "", err
		}
		out[i], out[j] = out[j], out[i]
	}
	if r.LetterFirst && !strings.ContainsRune(Lower+Upper, rune(out[0])) {
		letters := make([]int, 0, len(out))
		for i, c := range out {
			if strings.ContainsRune(Lower+Upper, rune(c)) {
				letters = append(letters, i)
			}
		}
		if len(letters) == 0 {
			return "", errors.New("the recipe for passwords demands a letter first but has none")
		}
		i, err := index(random, len(letters))
		if err != nil {
			return "", err
		}
		out[0], out[letters[i]] = out[letters[i]], out[0]
	}
	return string(out), nil
}

func pick(random io.Reader, characters string) (byte, error) {
	i, err := index(random, len(characters))
	if err != nil {
		return 0, err
	}
	return characters[i], nil
}

// index draws an unbiased number below n.
func index(random io.Reader, n int) (int, error) {
	if n <= 0 {
		return 0, errors.New("the recipe for passwords has an empty class of characters")
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

// Reverse returns the text with its characters in reversed order: remote systems forbid reversed names.
func Reverse(text string) string {
	runes := []rune(text)
	for i, j := 0, len(runes)-1; i < j; i, j = i+1, j-1 {
		runes[i], runes[j] = runes[j], runes[i]
	}
	return string(runes)
}

// Describe names a set of characters in words.
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
