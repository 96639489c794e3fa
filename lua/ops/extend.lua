-- E id token ttl_ms ttl_max_ms
--   unix ms at which it now expires · { word }
OPERATIONS.E = { arity = 4, id = 1, op = 2, run = function(first)
  define_records()
  local id, token = ARGV[first], ARGV[first + 1]
  local ttl_ms, ttl_max_ms = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local seen = op_seen(token)
  if seen then return seen[2] end
  local h = hold_of(id)
  if not h then return { 'NOTFOUND' } end
  if h.state == 'x' then return { 'EXPIRED' } end
  if h.state == 'r' then return { 'ROLLEDBACK' } end
  if h.state == 'c' then return { 'ALREADYCOMMITTED' } end
  local expires = now + ttl_ms
  if expires > h.made + ttl_max_ms then return { 'INVALIDTTL', h.made + ttl_max_ms - now } end
  if expires ~= h.expires then
    hold_extend(id, h, expires)
  end
  op_remember(token, ops_memory_ms, expires)
  return expires
end }
