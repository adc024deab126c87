-- Counts.
--   reply  due, waiting for their time, running, done, failed, cancelled, bytes of those that are not over, of those that are, when the
--          first was due, whether it is paused, standing

trim()
local due = call('ZCOUNT', waiting, '-inf', text(now))
local first = call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
local m = call('HMGET', meta, 'live', 'p')
local over = {}
for state, set in pairs(sets) do over[state] = call('ZCOUNT', set, '(' .. text(now), '+inf') end
return {
  due, call('ZCARD', waiting) - due, call('ZCOUNT', running, '(' .. text(now), '+inf'), over.d, over.f, over.c,
  int(m[1]), kept(), tonumber(first[2] or 0), m[2] and 1 or 0, standing(),
}
