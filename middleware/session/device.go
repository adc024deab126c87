package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A known device is a browser that has logged in to an account before. Limits by account give it
// a counter of its own, so that those who guess an account's password can't lock its user out.
//
// Its cookie outlives sessions and their logout. It has an entry for each of the last accounts
// that the browser has logged in to:
//
//	device ID (12 octets) | day of the login (4) | MAC of these, the account and the realm (16)
//
// The MAC binds an entry to its account, which the entry does not show. A stolen cookie opens
// nothing: it gives its holder the device's counter. The realm keeps who may call himself alice
// at one app from being known as alice at another.

const (
	// maxDeviceAccounts is how many accounts a device is known to. The one of the oldest login goes.
	maxDeviceAccounts = 8
	// deviceDays is for how many days after its last login to an account a device is known to it.
	deviceDays = 365

	deviceIDBytes  = 12
	deviceMACBytes = 16
	deviceMACAt    = deviceIDBytes + 4
	deviceBytes    = deviceMACAt + deviceMACBytes
	deviceLen      = 43 // deviceBytes in base64url
)

type deviceEntry [deviceBytes]byte

// DeviceCookieName is the name of the cookie of known devices.
func (m *Manager) DeviceCookieName() string {
	if m.set.Cookie.hostOnly() {
		return "__Host-headgate-devices"
	}
	return "headgate-devices"
}

// KnownDevice returns the ID of the device that the cookies' values prove to have logged in to the
// account in this realm within a year; "" if none does.
func (m *Manager) KnownDevice(cookies []string, realm, account string) string {
	for _, e := range deviceEntries(cookies) {
		if m.knows(&e, realm, account) {
			return encoding.EncodeToString(e[:deviceIDBytes])
		}
	}
	return ""
}

// DeviceCookie returns the cookie that makes a browser a known device of the account, which has
// just been logged in to; cookies are the values that the browser has sent. It is nil where there
// are no Settings.Secrets to sign it.
func (m *Manager) DeviceCookie(cookies []string, realm, account string) *http.Cookie {
	if len(m.deviceKeys) == 0 {
		return nil
	}
	var own deviceEntry
	rand.Read(own[:deviceIDBytes])
	entries := deviceEntries(cookies)
	for i := range entries {
		if e := &entries[i]; m.knows(e, realm, account) {
			own = *e // the same device, so that its counter goes on
			entries = slices.Delete(entries, i, i+1)
			break
		}
	}
	binary.BigEndian.PutUint32(own[deviceIDBytes:], m.today())
	copy(own[deviceMACAt:], deviceMAC(m.deviceKeys[0], &own, realm, account))
	values := []string{encoding.EncodeToString(own[:])}
	for _, e := range entries[:min(len(entries), maxDeviceAccounts-1)] {
		values = append(values, encoding.EncodeToString(e[:]))
	}
	c := m.set.blank()
	c.Name, c.Value, c.MaxAge = m.DeviceCookieName(), strings.Join(values, "."), deviceDays*24*60*60
	return c
}

// DeviceRealm is where a device is known: at an app, at the host that it has logged in at, or in
// the cookie's domain if the host lies there.
func (m *Manager) DeviceRealm(host, app string) string {
	return m.boundTo(host) + "/" + app
}

// knows reports whether an entry proves that the device has logged in to the account.
func (m *Manager) knows(e *deviceEntry, realm, account string) bool {
	age := int64(m.today()) - int64(binary.BigEndian.Uint32(e[deviceIDBytes:]))
	if age < -1 || age > deviceDays { // another instance's clock may be in the next day
		return false
	}
	return slices.ContainsFunc(m.deviceKeys, func(key []byte) bool {
		return hmac.Equal(e[deviceMACAt:], deviceMAC(key, e, realm, account))
	})
}

// today is the day, counted from 1970.
func (m *Manager) today() uint32 { return uint32(m.now().Unix() / int64(24*time.Hour/time.Second)) }

func deviceMAC(key []byte, e *deviceEntry, realm, account string) []byte {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%d:%s%d:%s", len(realm), realm, len(account), account)
	mac.Write(e[:deviceMACAt])
	return mac.Sum(nil)[:deviceMACBytes]
}

// deviceKeys derives from each secret the key that signs known devices.
func deviceKeys(secrets [][]byte) (keys [][]byte, err error) {
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "headgate known device", sha256.Size)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// deviceEntries returns the first entries of the cookies' values. What is malformed is left out.
func deviceEntries(cookies []string) (entries []deviceEntry) {
	for _, value := range cookies {
		for text := range strings.SplitSeq(value, ".") {
			if len(entries) == maxDeviceAccounts {
				return entries
			}
			var e deviceEntry
			if len(text) == deviceLen {
				if n, err := encoding.Decode(e[:], []byte(text)); err == nil && n == len(e) {
					entries = append(entries, e)
				}
			}
		}
	}
	return entries
}
