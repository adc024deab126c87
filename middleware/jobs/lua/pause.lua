-- Pauses the queue, or lets it go on.
--   ARGV   3 "1" to pause it

call('HDEL', meta, 'p')
if ARGV[3] == '1' then call('HSET', meta, 'p', '1') else publish('w') end
return 1
