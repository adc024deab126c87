-- banned returns how long a ban still lasts, in milliseconds; 0 or less if there is none. Its
-- key has the ban's length: where the key lasts longer, Redis' clock was set back, and the
-- ban lasts its length from now.
local function banned(key)
  local lasts = redis.call('PTTL', key)
  if lasts > 0 then
    local length = tonumber(redis.call('GET', key))
    if length > 1 and lasts > length then -- 1 is a ban of an instance of before
      redis.call('PEXPIRE', key, length)
      return length
    end
  end
  return lasts
end
