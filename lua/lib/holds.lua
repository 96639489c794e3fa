-- Reservations by id, their places in `open`, and expiry.
--
-- A record is "state quantity made expires forget token commit-token length:sku:reference": times in unix ms, forget 0
-- while open, '-' for no commit token, length the SKU's. States: o open, c committed, r rolled back, x expired.
-- A reservation holds stock while its state is o, also when it is overdue; giving back and leaving o are one step.
local holds = {}           -- id -> record as a table, a string not decoded yet, or false
local holds_changed = {}   -- id -> true
-- Lists for HSET and ZADD, as they are made, and how long they are (`#` searches for the end).
local holds_new, open_add, ended_add = {}, {}, {}
local holds_new_n, open_add_n, ended_add_n = 0, 0, 0
local open_removed = {}    -- member of `open` -> true
local ended_removed = {}   -- member of `ended` -> true
local ended_touched = {}   -- member of `ended` -> true: this call adds it
local due_earlier = {}     -- sku -> the soonest expiry that this call adds
local due_exact = {}       -- sku -> true: read its soonest expiry anew after the writes
local soonest_known = {}   -- sku -> expiry of the soonest open reservation or false; dropped when that may change
local settled = {}         -- sku -> true: nothing overdue is left
local expired_count = 0

-- `open` sorts by bytes: a SKU's members stand together (its length in front, so that no SKU is another's beginning),
-- the soonest expiry first.
local prefixes, times, TIME_LENGTH = {}, {}, 15 -- most of a batch share SKU and time to live
local function open_prefix(sku)
  local prefix = prefixes[sku]
  if not prefix then
    prefix = #sku .. ':' .. sku .. ':'
    prefixes[sku] = prefix
  end
  return prefix
end

local function open_time(ms)
  local text = times[ms]
  if not text then
    text = format('%015.0f', ms)
    times[ms] = text
  end
  return text
end

local function hold_decode(bytes)
  if not bytes then return false end
  local state, quantity, made, expires, forget, token, commit_token, length, at =
    match(bytes, '^(%a) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%d+):()')
  length = number(length)
  return { state = state, sku = sub(bytes, at, at + length - 1), quantity = number(quantity), made = number(made),
    expires = number(expires), forget = number(forget), token = token, commit_token = commit_token,
    reference = sub(bytes, at + length + 1) }
end

local whole_numbers = {} -- as text
local function whole(value)
  local text = whole_numbers[value]
  if not text then
    text = format('%.0f', value)
    whole_numbers[value] = text
  end
  return text
end

local made_now = {} -- expires -> that part of a record that is made now
local function record_times(expires)
  local text = made_now[expires]
  if not text then
    text = ' ' .. whole(now) .. ' ' .. whole(expires) .. ' 0 '
    made_now[expires] = text
  end
  return text
end

local function hold_encode(h)
  return h.state .. ' ' .. whole(h.quantity) .. ' ' .. whole(h.made) .. ' ' .. whole(h.expires) .. ' ' .. whole(h.forget)
    .. ' ' .. h.token .. ' ' .. h.commit_token .. ' ' .. open_prefix(h.sku) .. h.reference
end

local function holds_read(ids)
  for from = 1, #ids, PAGE do
    local to = math.min(from + PAGE - 1, #ids)
    local records = call('HMGET', KEY_HOLDS, unpack(ids, from, to))
    for i = from, to do
      local id = ids[i]
      if holds[id] == nil then holds[id] = hold_decode(records[i - from + 1]) end
    end
  end
end

local function open_set(id, sku, expires)
  local member, n, earliest = open_prefix(sku) .. open_time(expires) .. id, open_add_n, due_earlier[sku]
  open_add[n + 1] = '0'
  open_add[n + 2] = member
  open_add_n = n + 2
  -- To store nil where nothing is would make room for it.
  if open_removed[member] then open_removed[member] = nil end
  if soonest_known[sku] ~= nil then soonest_known[sku] = nil end
  if not earliest or expires < earliest then due_earlier[sku] = expires end
end

local function open_unset(id, h)
  open_removed[open_prefix(h.sku) .. open_time(h.expires) .. id] = true
  if soonest_known[h.sku] ~= nil then soonest_known[h.sku] = nil end
end

local function ended_set(member, forget)
  local n = ended_add_n
  ended_add[n + 1] = whole(forget)
  ended_add[n + 2] = member
  ended_add_n = n + 2
  ended_touched[member] = true
  if ended_removed[member] then ended_removed[member] = nil end
end

-- From here on the reservation holds no stock.
local function hold_end(id, h, state)
  open_unset(id, h)
  h.state, h.forget = state, now + remember_ms
  ended_set('h' .. id, h.forget)
  holds_changed[id] = true
  stock_changed[h.sku] = true
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

-- The record, whatever its state and age, or false.
local function hold_record(id)
  local h = holds[id]
  if h == nil then
    h = hold_decode(call('HGET', KEY_HOLDS, id))
    holds[id] = h
  elseif type(h) == 'string' then
    h = hold_decode(h)
    holds[id] = h
  end
  return h
end

-- The reservation as it is now, or false: not known, or remembered long enough.
local function hold_of(id)
  local h = hold_record(id)
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
  local from, to, at = '[' .. prefix, '(' .. prefix .. open_time(now + 1), #prefix + TIME_LENGTH + 1
  while true do
    local room = math.min(PAGE, limit - taken, settle_left)
    if room <= 0 then return false, taken end
    -- Nothing is written before the end of the call, so what this call took back is still there: step over it.
    local page = call('ZRANGEBYLEX', KEY_OPEN, from, to, 'LIMIT', offset, room)
    offset = offset + #page
    local ids = {}
    for i, member in ipairs(page) do ids[i] = sub(member, at) end
    holds_read(ids)
    if #page > 0 then due_exact[sku] = true end
    for i, id in ipairs(ids) do
      if not open_removed[page[i]] then
        local h = hold_record(id)
        if h and h.state == 'o' and h.expires <= now then
          hold_expire(id, h)
          taken, settle_left = taken + 1, settle_left - 1
        else
          open_removed[page[i]] = true -- a left-over that holds nothing
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
  local time_from, time_to = #prefix + 1, #prefix + TIME_LENGTH
  repeat
    local page = call('ZRANGEBYLEX', KEY_OPEN, from, to, 'LIMIT', offset, 16)
    offset = offset + #page
    for _, member in ipairs(page) do
      if not best and not open_removed[member] then best = tonumber(sub(member, time_from, time_to)) end
    end
  until best or #page < 16
  if due_earlier[sku] and (not best or due_earlier[sku] < best) then
    -- One that this call added may be the soonest, if it was not taken away again.
    for i = 2, open_add_n, 2 do
      local member = open_add[i]
      if sub(member, 1, #prefix) == prefix and not open_removed[member] then
        local expires = tonumber(sub(member, time_from, time_to))
        if not best or expires < best then best = expires end
      end
    end
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
