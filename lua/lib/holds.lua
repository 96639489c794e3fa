-- Reservations by id, their places in `open`, and expiry.
--
-- A record is the msgpack of: state, sku, quantity, made, expires, forget (unix ms; 0 while open), token of the
-- reserve, token of the commit, reference. States: o open, c committed, r rolled back, x expired.
-- A reservation holds stock while its state is o, also when it is overdue; giving back and leaving o are one step.
local holds, holds_changed = {}, {}
local open_change = {}     -- member of `open` -> true (add) or false (remove)
local open_added = {}      -- sku -> the members this call adds
local ended_change = {}    -- member of `ended` -> score or false (remove)
local due_earlier = {}     -- sku -> the soonest expiry that this call adds
local due_exact = {}       -- sku -> true: read its soonest expiry anew after the writes
local soonest_known = {}   -- sku -> expiry of the soonest open reservation or false; dropped when that may change
local settled = {}         -- sku -> true: nothing overdue is left
local expired_count = 0

local function hold_decode(bytes)
  if not bytes then return false end
  local state, sku, quantity, made, expires, forget, token, commit_token, reference = cmsgpack.unpack(bytes)
  return { state = state, sku = sku, quantity = quantity, made = made, expires = expires, forget = forget,
    token = token, commit_token = commit_token, reference = reference }
end

local function hold_encode(h)
  return cmsgpack.pack(h.state, h.sku, h.quantity, h.made, h.expires, h.forget, h.token, h.commit_token, h.reference)
end

local function holds_read(ids)
  local missing, seen = {}, {}
  for _, id in ipairs(ids) do
    if holds[id] == nil and not seen[id] then
      seen[id] = true
      missing[#missing + 1] = id
    end
  end
  for from = 1, #missing, PAGE do
    local to = math.min(from + PAGE - 1, #missing)
    local records = redis.call('HMGET', KEY_HOLDS, unpack(missing, from, to))
    for i = from, to do holds[missing[i]] = hold_decode(records[i - from + 1]) end
  end
end

-- `open` sorts by bytes: a SKU's members stand together (its length in front, so that no SKU is another's beginning),
-- the soonest expiry first.
local function open_prefix(sku) return #sku .. ':' .. sku .. ':' end
local function open_time(ms) return string.format('%015.0f', ms) end
local TIME_LENGTH = 15
local function open_member(id, h) return open_prefix(h.sku) .. open_time(h.expires) .. id end

local function open_set(id, h, there)
  local member = open_member(id, h)
  open_change[member] = there
  soonest_known[h.sku] = nil
  if there then
    local added = open_added[h.sku]
    if not added then
      added = {}
      open_added[h.sku] = added
    end
    added[#added + 1] = member
    if not due_earlier[h.sku] or h.expires < due_earlier[h.sku] then due_earlier[h.sku] = h.expires end
  end
end

-- From here on the reservation holds no stock.
local function hold_end(id, h, state)
  open_set(id, h, false)
  h.state, h.forget = state, now + remember_ms
  ended_change['h' .. id] = h.forget
  holds_changed[id] = true
  stock_touch(h.sku)
end

local function hold_give_back(id, h, state)
  local s = stock_of(h.sku)
  s.available, s.reserved = s.available + h.quantity, s.reserved - h.quantity
  hold_end(id, h, state)
end

local function hold_expire(id, h)
  hold_give_back(id, h, 'x')
  expired_count = expired_count + 1
end

-- The reservation as it is now, or false: not known, or remembered long enough.
local function hold_of(id)
  if holds[id] == nil then holds[id] = hold_decode(redis.call('HGET', KEY_HOLDS, id)) end
  local h = holds[id]
  if not h then return false end
  if h.state == 'o' then
    if h.expires <= now then hold_expire(id, h) end
  elseif h.forget <= now then
    return false
  end
  return h
end

-- Takes back what is overdue of one SKU, `limit` reservations at most.
-- Returns whether nothing overdue is left, and how many it took back.
local function settle(sku, limit)
  if settled[sku] then return true, 0 end
  local prefix, taken, offset = open_prefix(sku), 0, 0
  local from, to = '[' .. prefix, '(' .. prefix .. open_time(now + 1)
  while true do
    local room = math.min(PAGE, limit - taken, settle_left)
    if room <= 0 then return false, taken end
    -- Nothing is written before the end of the call, so what this call took back is still there: step over it.
    local page = redis.call('ZRANGEBYLEX', KEY_OPEN, from, to, 'LIMIT', offset, room)
    offset = offset + #page
    local ids, at = {}, #prefix + TIME_LENGTH + 1
    for i, member in ipairs(page) do ids[i] = string.sub(member, at) end
    holds_read(ids)
    if #page > 0 then due_exact[sku] = true end
    for i, id in ipairs(ids) do
      local h = holds[id]
      if open_change[page[i]] == nil then
        if h and h.state == 'o' and h.expires <= now then
          hold_expire(id, h)
          taken, settle_left = taken + 1, settle_left - 1
        else
          open_change[page[i]] = false -- a left-over that holds nothing
        end
      end
    end
    if #page < room then
      settled[sku] = true
      return true, taken
    end
  end
end

-- When the soonest open reservation of the SKU expires, unix ms; false where none is open. After settle.
local function soonest(sku)
  local known = soonest_known[sku]
  if known ~= nil then return known end
  local prefix, best, offset = open_prefix(sku), false, 0
  local from, to = '[' .. prefix .. open_time(now + 1), '(' .. prefix .. ':'
  repeat
    local page = redis.call('ZRANGEBYLEX', KEY_OPEN, from, to, 'LIMIT', offset, 16)
    offset = offset + #page
    for _, member in ipairs(page) do
      if not best and open_change[member] ~= false then
        best = tonumber(string.sub(member, #prefix + 1, #prefix + TIME_LENGTH))
      end
    end
  until best or #page < 16
  for _, member in ipairs(open_added[sku] or {}) do
    local expires = tonumber(string.sub(member, #prefix + 1, #prefix + TIME_LENGTH))
    if open_change[member] and (not best or expires < best) then best = expires end
  end
  soonest_known[sku] = best
  return best
end

-- The refusal for lack of stock, true at this instant; nil where there is enough; STOP where it cannot be said yet.
local function refusal(sku, s, quantity)
  if s.available >= quantity then return nil end
  if not settle(sku, NUMBER_MAX) then return STOP end
  if s.available >= quantity then return nil end
  local expires = soonest(sku)
  return { 'INSUFFICIENTSTOCK', quantity, s.available, expires and expires - now or -1 }
end
