package app

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// A password is kept as "pbkdf2-sha256$iterations$salt$hash", salt and hash in
// unpadded base64: all that is needed to check it, so the cost can be raised
// later without a change of format.
const (
	passwordScheme = "pbkdf2-sha256"
	saltBytes      = 16
	maxPassword    = 1024 // bytes; nobody has a longer one, and hashing is what an attacker would have us do
)

func hashPassword(password string, iterations int) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails, see crypto/rand
	return fmt.Sprintf("%s$%d$%s$%s", passwordScheme, iterations,
		base64.RawStdEncoding.EncodeToString(salt),
		base64.RawStdEncoding.EncodeToString(derive(password, salt, iterations)))
}

// checkPassword reports whether password is the one that stored was made from.
// A stored value that cannot be read matches no password.
func checkPassword(stored, password string) bool {
	scheme, rest, _ := strings.Cut(stored, "$")
	count, rest, _ := strings.Cut(rest, "$")
	encodedSalt, encodedHash, _ := strings.Cut(rest, "$")

	iterations, err := strconv.Atoi(count)
	if scheme != passwordScheme || err != nil || iterations < 1 || len(password) > maxPassword {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(encodedSalt)
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(encodedHash)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(want, derive(password, salt, iterations)) == 1
}

func derive(password string, salt []byte, iterations int) []byte {
	key, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		panic("app: pbkdf2: " + err.Error()) // only for key sizes or hashes that FIPS mode forbids: a programmer's error
	}
	return key
}
