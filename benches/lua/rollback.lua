-- Gives back what reserve.lua holds. KEYS as there; ARGV: id. Output: OK, or an error.
local stock, holds, expiry = KEYS[1], KEYS[2], KEYS[3]
local hold = redis.call('HGET', holds, ARGV[1])
if not hold then return redis.error_reply('NOTFOUND') end
local quantity = string.match(hold, '^(%d+):')
redis.call('HINCRBY', stock, 'held', -quantity)
redis.call('HINCRBY', stock, 'avail', quantity)
redis.call('HDEL', holds, ARGV[1])
redis.call('ZREM', expiry, ARGV[1])
return redis.status_reply('OK')
