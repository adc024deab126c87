package store

import (
	"strconv"
	"strings"
)

// slotOf returns the Cluster slot of a key: CRC16 (XMODEM) of its hash tag, or
// of the whole key where it has none, modulo 16384.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
func slotOf(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if length := strings.IndexByte(key[open+1:], '}'); length > 0 {
			key = key[open+1 : open+1+length]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % slots)
}

// keyIn returns some key of a slot.
func keyIn(slot int) string {
	for i := 0; ; i++ {
		if k := strconv.Itoa(i); slotOf(k) == slot {
			return k
		}
	}
}
