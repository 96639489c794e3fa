-- Sells what reserve.lua holds, unless it has expired. KEYS as there; ARGV: id. Output: OK, or an error. It forgets the
-- reservation, so it cannot tell a second commit from an unknown id.
local stock, holds, expiry = KEYS[1], KEYS[2], KEYS[3]
local hold = redis.call('HGET', holds, ARGV[1])
if not hold then return redis.error_reply('NOTFOUND') end
local quantity, expires = string.match(hold, '^(%d+):(%d+)$')
local t = redis.call('TIME')
if tonumber(expires) <= t[1] * 1000 + math.floor(t[2] / 1000) then return redis.error_reply('EXPIRED') end
redis.call('HINCRBY', stock, 'held', -quantity)
redis.call('HINCRBY', stock, 'sold', quantity)
redis.call('HDEL', holds, ARGV[1])
redis.call('ZREM', expiry, ARGV[1])
return redis.status_reply('OK')
