-- Renews leases.
--   ARGV   3 how long they last; per lease: ID, token
--   reply  per lease: h held, l lost, s held, but the job was cancelled

local reply = {}
for a = 4, #ARGV, 2 do
  local id = ARGV[a]
  local r = call('HMGET', base .. 'job:' .. id, 's', 't', 'x')
  if r[1] == 'r' and r[2] == ARGV[a + 1] then
    call('ZREM', running, id)
    call('ZADD', running, text(now + int(ARGV[3])), id)
    reply[#reply + 1] = r[3] == '2' and 's' or 'h'
  else
    reply[#reply + 1] = 'l'
  end
end
return reply
